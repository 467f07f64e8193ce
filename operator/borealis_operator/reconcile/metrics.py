"""What the operator counts of itself, for `/metrics`: passes, how long they take, and what they do."""

from typing import Final

from prometheus_client import Counter, Histogram

PASSES: Final = Counter("borealis_operator_passes", "Passes over a DBCluster, by outcome.", ["outcome"])
SECONDS: Final = Histogram("borealis_operator_pass_seconds", "Seconds that a pass takes.")
ACTIONS: Final = Counter("borealis_operator_actions", "Actions planned, by kind.", ["action"])
