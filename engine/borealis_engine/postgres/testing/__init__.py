"""Doubles and harnesses of the PostgreSQL side: a volume in memory, and real agents as processes."""

from borealis_engine.postgres.testing.agents import Agent
from borealis_engine.postgres.testing.memory import MemoryVolume

__all__ = ["Agent", "MemoryVolume"]
