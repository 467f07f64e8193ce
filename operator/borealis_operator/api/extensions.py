"""`spec.extensions`: extensions of PostgreSQL to have in which database.

Names are refused here too and not by the CRD alone: whoever admits one has it made by PostgreSQL's superuser.
"""

from collections.abc import Mapping
from typing import Any, Final

from borealis_engine.contract.extensions import ALLOWED, find_refusal

from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.fields import Raw, text

FIELD: Final = "spec.extensions"
MOST: Final = 100
FIRST: Final = ""  # the first database, whatever its name
DATABASE: Final = r"[A-Za-z0-9_][-A-Za-z0-9_.$]{0,62}"
TEMPLATES: Final = ("template0", "template1")

Extensions = Mapping[str, tuple[str, ...]]  # names by database


def parse_extensions(spec: Raw) -> Extensions:
    """Give the extensions of each database; ConfigInvalid says which entry is wrong, and how."""
    given = spec.get("extensions") or []
    if not isinstance(given, list) or len(given) > MOST:
        raise ConfigInvalid(FIELD, f"is not a list of {MOST} extensions at most", "write it as - name: postgres_fdw")
    found = dict[str, set[str]]()
    for number, raw in enumerate(given, 1):
        name, database = _entry(raw, f"entry {number}")
        found.setdefault(database, set()).add(name)
    return {database: tuple(sorted(names)) for database, names in found.items()}


def _entry(raw: Any, where: str) -> tuple[str, str]:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str) or not set(raw) <= {"name", "database"}:
        remedy = "give name, and database unless it is the first one"
        raise ConfigInvalid(FIELD, f"{where} is no extension", remedy)
    name = str(raw["name"])
    if why := find_refusal(name):
        raise ConfigInvalid(FIELD, f"{name!r} is not made: {why}", f"use {', '.join(sorted(ALLOWED))}")
    remedy = "use letters, digits, '_', '-', '.' and '$', 63 at most, and no template0 or template1"
    database = text(raw, "database", FIELD, default=FIRST, pattern=DATABASE, remedy=remedy)
    if database in TEMPLATES:
        raise ConfigInvalid(FIELD, f"{where}: {database!r} is a template of PostgreSQL's own", remedy)
    return name, database
