"""Extensions that Borealis makes on request, and why not others: the agent makes them as PostgreSQL's superuser.

The rule: an extension is in `ALLOWED` only if it gives nobody a file, a program or another process of the server, nor
bytes beneath PostgreSQL's own checks. Operator and agent both refuse all others.
"""

from collections.abc import Mapping
from typing import Final

ALLOWED: Final = frozenset({
    "amcheck", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dblink", "dict_int", "fuzzystrmatch", "hstore",
    "intarray", "isn", "lo", "ltree", "pg_buffercache", "pg_freespacemap", "pg_prewarm", "pg_stat_statements",
    "pg_trgm", "pg_visibility", "pgcrypto", "pgrowlocks", "pgstattuple", "postgres_fdw", "seg", "sslinfo", "tablefunc",
    "tcn", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp",
})  # fmt: skip
_FILES: Final = "it reads or writes files of the server"
_PROGRAMS: Final = "its functions run as programs of PostgreSQL's operating system user"
_BYTES: Final = "it reads or writes pages and log beneath all checks"
REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("adminpack", "file_fdw"), _FILES),
    **dict.fromkeys(("plperlu", "plpython3u", "plpythonu", "pltclu"), _PROGRAMS),
    **dict.fromkeys(("pageinspect", "pg_surgery", "pg_walinspect"), _BYTES),
    "earthdistance": "its script looks for cube where users may put something else",
    "auto_explain": "it is a library and no extension: name it in spec.parameters.session_preload_libraries",
}
OTHERWISE: Final = "it is not among those that are known to lead to no file, program or process of the server"


def find_refusal(name: str) -> str:
    """Return why an extension is not made; empty if it may be."""
    return "" if name in ALLOWED else REFUSED.get(name, OTHERWISE)


def extension_place(name: str, database: str) -> str:
    """Return how statuses name an extension of a database."""
    return f"{name} in {database}"
