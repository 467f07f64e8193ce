"""Logs of the programs: one JSON object a line, with the fields that say where it happened.

Their own go to stderr, PostgreSQL's to stdout: users decide how much of that there is, and whatever keeps it from being
taken must hold up neither the program nor, for long, PostgreSQL.
"""

import json
import logging
import os
import select
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from borealis_engine.contract.volume import format_lsn

POSTGRES: Final = "postgres"  # the logger of what PostgreSQL logs
PATIENCE_S: Final = 1.0
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


class Patient(logging.Handler):
    """Writes to a descriptor as long as what it holds is taken within `patience` seconds.

    What is not is left out, and counted: the next line that is taken begins with how many.
    """

    def __init__(self, descriptor: int, patience: float = PATIENCE_S) -> None:
        super().__init__()
        self._descriptor, self._patience = descriptor, patience
        self._left_out = 0
        self._torn = False  # of the last line only the beginning was taken
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or leave it out."""
        try:
            if self._left_out:
                record.msg = f"(pieces of the log left out before: {self._left_out}) {record.msg}"
            line = ("\n" if self._torn else "") + self.format(record) + "\n"
            taken = self._write(line.encode())
        except OSError:  # nobody reads it any more
            taken = False
        self._left_out = 0 if taken else self._left_out + 1

    def _write(self, data: bytes) -> bool:
        at, size = 0, len(data)
        while at < size:
            if not self._poll.poll(0 if self._left_out else self._patience * 1000):
                self._torn = self._torn or at > 0
                return False
            at += os.write(self._descriptor, data[at : at + select.PIPE_BUF])  # as much as does not wait
        self._torn = False
        return True


def log_as_json(*, cluster: str, node: str) -> JsonLines:
    """Send the logs of this process to stderr, INFO and above; give what renders them. PostgreSQL's go to stdout."""
    handler, patient = logging.StreamHandler(sys.stderr), Patient(sys.stdout.fileno())
    lines, plain = (JsonLines({"cluster": cluster, "node": node}) for _ in range(2))
    handler.setFormatter(lines)
    patient.setFormatter(plain)  # where the node is only its event loop knows
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logger = logging.getLogger(POSTGRES)
    logger.handlers, logger.propagate = [patient], False
    return lines


def _nowhere() -> tuple[int, int]:
    """Nothing is known yet."""
    return 0, 0
