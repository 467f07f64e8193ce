"""The report: what each scenario measured, written after every one, so that a run that breaks off still tells."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True, kw_only=True)
class Scenario:
    """One line of the report; `seconds` is its own figure (of a fault: the longest gap between two commits)."""

    name: str
    seconds: float = 0.0
    acked: int = 0
    lost: int = 0
    outcome: str = "failed"
    duration: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Flatten for the report; further figures stand beside the common ones."""
        raw: dict[str, Any] = asdict(self)
        figures: dict[str, Any] = raw.pop("figures")
        return raw | {"seconds": round(self.seconds, 3), "duration": round(self.duration, 1)} | figures


class Report:
    """All scenarios of one run, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scenarios: list[Scenario] = []
        self._begun: dict[str, float] = {}

    def begin(self, name: str) -> Scenario:
        """Open a line; it says `failed` until it is ended otherwise."""
        scenario = Scenario(name=name)
        self._scenarios.append(scenario)
        self._begun[name] = time.monotonic()
        return scenario

    def end(self, scenario: Scenario, outcome: str) -> None:
        """Close a line and write the whole report."""
        scenario.outcome = outcome
        scenario.duration = time.monotonic() - self._begun[scenario.name]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(one.to_json()) for one in self._scenarios)
        self._path.write_text(f"[\n{lines}\n]\n")
