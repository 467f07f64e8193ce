"""Logs of the programs: one JSON object a line on stderr, with the fields that say where it happened."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

FIELDS: Final = ("epoch", "lsn", "member", "peer", "role", "generation", "revision")  # taken from `extra` where given


class JsonLines(logging.Formatter):
    """Renders a record as one line of JSON; `constant` fields (cluster, node) come with each."""

    def __init__(self, constant: Mapping[str, str]) -> None:
        super().__init__()
        self._constant = dict(constant)

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._constant,
            **{name: record.__dict__[name] for name in FIELDS if name in record.__dict__},
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json(*, cluster: str, node: str) -> None:
    """Send the logs of this process to stderr, INFO and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines({"cluster": cluster, "node": node}))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
