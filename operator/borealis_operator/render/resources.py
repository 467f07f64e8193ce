"""What an instance's container reserves, and the text by which a pod remembers it.

A processor is always requested, because load is measured in shares of what was requested. The text is on the pod
itself, so that pods are replaced when what is asked for changes, and not when the operator begins to render otherwise.
"""

from decimal import Decimal
from typing import Final

from borealis_operator.api.classes import Resources
from borealis_operator.api.fields import Raw, section
from borealis_operator.api.names import GROUP
from borealis_operator.api.quantities import parse_quantity
from borealis_operator.render.metadata import Object

ANNOTATION_RESOURCES: Final = f"{GROUP}/resources"
DEFAULT_CPU: Final = "100m"


def render_resources(asked: Resources) -> Object:
    """Give requests and limits: a processor by default, memory reserved and limited alike."""
    memory = {"memory": asked.memory} if asked.memory else {}
    limits = {"limits": memory} if memory else {}
    return {"requests": {"cpu": asked.cpu or DEFAULT_CPU, **memory}, **limits}


def describe_resources(asked: Resources) -> str:
    """Give the text for `ANNOTATION_RESOURCES`: the same for quantities that are written differently but equal."""
    return f"cpu {_plain(asked.cpu or DEFAULT_CPU)}, memory {_plain(asked.memory) if asked.memory else 'any'}"


def bears(pod: Raw, asked: Resources) -> bool:
    """Whether a live instance pod has what is asked.

    A pod without the annotation is of an older operator, which requested no processor by default: it is judged by its
    container.
    """
    told = section(pod, "metadata", "annotations").get(ANNOTATION_RESOURCES)
    return (told or describe_resources(_live(pod))) == describe_resources(asked)


def _live(pod: Raw) -> Resources:
    containers = section(pod, "spec").get("containers") or ()
    requests = section(containers[0], "resources", "requests") if containers else {}
    return Resources(cpu=str(requests.get("cpu", "")), memory=str(requests.get("memory", "")))


def _plain(quantity: str) -> str:
    """Give a quantity in its base unit, without trailing zeros or exponent."""
    return f"{parse_quantity(quantity).normalize() + Decimal(0):f}"
