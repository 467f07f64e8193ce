"""What became of `spec.extensions`: the writer's agent makes them and says of each why it cannot be used."""

from typing import Final

from borealis_engine.contract.extensions import extension_place

from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Facts
from borealis_operator.render.secrets import render_extensions

READY: Final = "ExtensionsReady"


def extensions_conditions(facts: Facts) -> list[Condition]:
    """Say whether every extension can be used, and what to do about the others; nothing if none is asked for."""
    asked = render_extensions(facts.cluster)
    if not asked:
        return []
    places = [extension_place(name, database) for database, names in sorted(asked.items()) for name in names]
    writer = facts.writer.instance_status if facts.writer else None
    told = writer.extensions if writer else {}
    if amiss := [f"{place}: {told[place]}" for place in places if told.get(place)]:
        return [condition(READY, False, "ExtensionRefused", f"spec.extensions: {'; '.join(amiss)}"[:1024])]
    if late := [place for place in places if place not in told]:
        message = f"the writer makes them, unless its image is of an older release: {', '.join(late)}"
        return [condition(READY, False, "Pending", message[:1024])]
    return [condition(READY, True, "Ready", f"can be used: {', '.join(places)}"[:1024])]
