"""What scripted schedules are made of."""

from typing import Final

from borealis_engine.core.testing.agent import Agent
from borealis_engine.core.testing.scene import Scene
from borealis_engine.core.testing.storage import Storage

NEVER: Final = 3.9  # seconds: just before all ends well


def calm(scene: Scene) -> tuple[Agent, Agent]:
    """Fast disks and network; nobody campaigns but who is told to."""
    scene.network.delay, scene.network.repeats = 0.001, False
    for node in scene.nodes:
        node.slow = 0.0003
    return scene.agents[0], scene.agents[1]


def cut(scene: Scene, agent: Agent, nodes: list[Storage]) -> set[tuple[str, str]]:
    pairs = {(agent.name, node.name) for node in nodes}
    scene.network.blocked |= pairs
    return pairs


def replace_first(scene: Scene, *, away: float = 0.0) -> None:
    """The first member is replaced, and lives; everybody hears of it; then the operator is away."""
    scene.operator.replace(lost=False, old=scene.nodes[0].id)
    scene.operator.announce()
    scene.operator.crash(away)
