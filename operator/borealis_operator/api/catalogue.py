"""What an operator is told where it is installed: images of the engine, classes, and its own place in the network.

The engine image decides what is available, so that a default is never a version that cannot start.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from borealis_operator.api.classes import DEFAULT_CLASSES, Resources
from borealis_operator.api.clients import Peer
from borealis_operator.api.errors import ConfigInvalid

ENV_ENGINE_IMAGES: Final = "BOREALIS_ENGINE_IMAGES"  # JSON: {"17": "image:tag", ...}
ENV_OPERATOR_PEER: Final = "BOREALIS_OPERATOR_PEER"  # JSON: the operator's pods as a peer of a NetworkPolicy
MAJORS: Final = ("15", "16", "17")
ENGINES: Final = ("postgresql", "aurora-postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Images by PostgreSQL major, and instance classes by name; neither is ever empty. No peer: no NetworkPolicies."""

    images: Mapping[str, str]
    classes: Mapping[str, Resources] = field(default_factory=lambda: DEFAULT_CLASSES)
    operator_peer: Peer | None = None

    @property
    def default(self) -> str:
        """The newest major that has an image."""
        return max(self.images, key=int)

    def image(self, major: str) -> str:
        """Give the engine image of `major`, or say which majors there are."""
        if major not in self.images:
            there = ", ".join(sorted(self.images, key=int))
            remedy = f"make the DBCluster anew with one of {there}, or add an image to engine.images of the chart"
            raise ConfigInvalid("spec.engineVersion", f"{major} has no engine image in this operator", remedy)
        return self.images[major]


def parse_catalogue(text: str) -> Catalogue:
    """Read `BOREALIS_ENGINE_IMAGES`: a JSON object from major to image."""
    remedy = f'give a JSON object such as {{"{MAJORS[-1]}": "image:tag"}} with majors of {", ".join(MAJORS)}'
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigInvalid(ENV_ENGINE_IMAGES, "is not JSON", remedy) from error
    if not isinstance(raw, dict) or not raw:
        raise ConfigInvalid(ENV_ENGINE_IMAGES, "is not a JSON object with at least one major", remedy)
    for major, image in raw.items():
        if major not in MAJORS or not isinstance(image, str) or not image:
            raise ConfigInvalid(ENV_ENGINE_IMAGES, f"has the unknown entry {major!r}", remedy)
    return Catalogue(images=raw)


def parse_operator_peer(text: str) -> Peer | None:
    """Read `BOREALIS_OPERATOR_PEER`: None if it is empty, which means that clusters get no NetworkPolicy."""
    if not text:
        return None
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigInvalid(ENV_OPERATOR_PEER, "is not JSON", "give a peer of a NetworkPolicy, or nothing") from error
    if not isinstance(raw, dict) or not raw.get("podSelector") or not raw.get("namespaceSelector"):
        raise ConfigInvalid(ENV_OPERATOR_PEER, "does not name pods of a namespace", "give both selectors, or nothing")
    return raw
