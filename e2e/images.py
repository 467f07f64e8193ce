"""The images of the working tree, brought to the nodes: through a registry if there is one, else by `kind load`."""

import os
from dataclasses import dataclass

from e2e.kind import Kind
from e2e.process import run

MAJOR = "17"
LIMITS_MB = {"operator": 200, "engine": 400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Names under which the nodes find the images; the tag is the image's own digest, so a stale one is never used."""

    operator: str
    engine: str
    client: str


def publish(kind: Kind) -> Images:
    """Build all images and bring them to the cluster."""
    run("make", "images", timeout=1800)
    refuse_large(_built())
    names = [_publish(kind, image) for image in _built()]
    return Images(operator=names[0], engine=names[1], client=names[2])


def refuse_large(images: list[str]) -> None:
    """AssertionError for an image that is larger than it may be: what makes it so is seldom needed to run."""
    for image in images:
        limit = LIMITS_MB.get(image.rsplit(":", 1)[0].rsplit("/", 1)[-1])
        size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", image)) // 1_000_000
        assert limit is None or size < limit, f"{image} has {size} MB, at most {limit} are allowed"


def _built() -> list[str]:
    return run("make", "--no-print-directory", "image-names").split()


def _publish(kind: Kind, image: str) -> str:
    repository, _ = image.rsplit(":", 1)
    digest = run("docker", "image", "inspect", "--format", "{{.Id}}", image).strip().removeprefix("sha256:")[:12]
    registry = os.environ.get("KIND_REGISTRY")
    name = f"{registry}/{repository}:{digest}" if registry else f"{repository}:{digest}"
    run("docker", "tag", image, name)
    _bring(kind, name)
    return name


def _bring(kind: Kind, name: str) -> None:
    if os.environ.get("KIND_REGISTRY"):
        run("docker", "push", "--quiet", name, timeout=300)
    else:
        run("kind", "load", "docker-image", name, "--name", kind.name, timeout=900)


def renamed(kind: Kind, images: Images) -> Images:
    """Bring the same operator and engine to the cluster under other names, as a new release would have."""
    return Images(
        operator=_other_name(kind, images.operator), engine=_other_name(kind, images.engine), client=images.client
    )


def _other_name(kind: Kind, image: str) -> str:
    name = f"{image}-next"
    run("docker", "tag", image, name)
    _bring(kind, name)
    return name
