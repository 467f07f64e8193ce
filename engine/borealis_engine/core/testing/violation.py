"""How the simulator says that a rule of the volume was broken."""


class Violation(AssertionError):
    """A rule was broken; the text begins with the rule."""


def require(holds: bool, rule: str, *details: object) -> None:
    """Raise Violation with the rule's words unless it holds."""
    if not holds:
        raise Violation(f"{rule}: {' '.join(map(str, details))}")
