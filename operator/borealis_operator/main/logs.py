"""Logs as one JSON object per line, with the structured fields that decisions carry."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

from borealis_operator.reconcile.context import CLUSTER

FIELDS: Final = ("cluster", "node", "epoch", "lsn")


class JsonFormatter(logging.Formatter):
    """One line of JSON per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Give time, level, logger, message, known fields and the traceback if there is one."""
        line = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = {"cluster": CLUSTER.get() or None} | record.__dict__
        line |= {name: str(value) for name in FIELDS if (value := known.get(name)) is not None}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logs(*, plain: bool, verbose: bool) -> None:
    """Log to standard error; the framework's own chatter only from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(text) if plain else JsonFormatter())
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)
    for name in ("kopf", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(name).setLevel(logging.WARNING)
