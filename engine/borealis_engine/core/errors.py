"""Errors of the core, by blame.

CoreError
├── Misuse          the shell called an input at the wrong moment or with bytes out of order
└── SafetyViolated  what was asked would break an invariant of the volume: never done, always a bug somewhere
"""


class CoreError(Exception):
    """Any error of the core."""


class Misuse(CoreError):
    """The shell broke the calling rules."""


class SafetyViolated(CoreError):
    """An invariant would be broken; whoever sees it takes itself out of service."""
