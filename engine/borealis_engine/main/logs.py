"""Logs of the programs: one JSON object a line on stderr, with the fields that say where it happened."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from borealis_engine.contract.volume import format_lsn

FIELDS: Final = ("epoch", "lsn", "member", "peer", "role", "generation", "revision")  # taken from `extra` where given


class JsonLines(logging.Formatter):
    """Renders a record as one line of JSON; `constant` fields (cluster, node) come with each, and so does `where`."""

    def __init__(self, constant: Mapping[str, str]) -> None:
        super().__init__()
        self.where: Callable[[], tuple[int, int]] = _nowhere  # gives the epoch and the LSN at which the process is
        self._constant = dict(constant)

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; what the record says itself wins."""
        epoch, lsn = self.where()
        fields: dict[str, object] = {"epoch": epoch or None, "lsn": lsn or None}
        fields |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if isinstance(at := fields["lsn"], int):
            fields["lsn"] = format_lsn(at)
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._constant,
            **{name: value for name, value in fields.items() if value is not None},
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json(*, cluster: str, node: str) -> JsonLines:
    """Send the logs of this process to stderr, INFO and above; give what renders them."""
    handler = logging.StreamHandler(sys.stderr)
    lines = JsonLines({"cluster": cluster, "node": node})
    handler.setFormatter(lines)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    return lines


def _nowhere() -> tuple[int, int]:
    """Nothing is known yet."""
    return 0, 0
