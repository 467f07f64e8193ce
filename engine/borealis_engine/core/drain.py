"""Carries out what a state machine asks for, in the order in which it was asked.

What is carried out may give the machine more to do before it returns: a D that is told makes room, and room makes an
append. Invariant: that is carried out after everything older, never in its middle; else a member is sent log with a
gap before the log that fills it, and refuses it.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

E = TypeVar("E")


class Drain(Generic[E]):
    """One queue; `run` may be called from anywhere, also from within what it carries out."""

    __slots__ = ("_at_work", "_carry_out", "_effects")

    def __init__(self, effects: Callable[[], list[E]], carry_out: Callable[[list[E]], None]) -> None:
        """`effects` gives what is to be done since it was last asked, `carry_out` does it, in order."""
        self._effects, self._carry_out = effects, carry_out
        self._at_work = False

    def run(self) -> None:
        """Carry out all there is; from within that: return at once, its turn comes."""
        if self._at_work:
            return
        self._at_work = True
        try:
            while effects := self._effects():
                self._carry_out(effects)
        finally:
            self._at_work = False
