"""Objects that a pass keeps as they should be: made if missing, mended if changed, left alone if they are right."""

from collections.abc import Iterator

from borealis_operator.plan.actions import Action, Apply, Create
from borealis_operator.plan.facts import Facts, Manifest
from borealis_operator.render.objects import holds


def keep(facts: Facts, manifest: Manifest) -> Iterator[Action]:
    """Make or mend an object; one of that name that is not the cluster's own is never taken over."""
    live = facts.live(manifest["kind"], manifest["metadata"]["name"])
    if live is None:
        yield Create(manifest=manifest)
    elif not holds(live, manifest):
        yield Apply(manifest=manifest)
