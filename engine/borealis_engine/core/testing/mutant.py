"""A known bug that the simulator must find: functions of the real state machines replaced for the time of a block."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug: which attributes are replaced by what."""

    name: str
    patches: tuple[tuple[Any, str, object], ...]

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Have the bug for the time of the block."""
        with ExitStack() as undo:
            for owner, name, replacement in self.patches:
                undo.callback(setattr, owner, name, owner.__dict__[name])
                setattr(owner, name, replacement)
            yield
