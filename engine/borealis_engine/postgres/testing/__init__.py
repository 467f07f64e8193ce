"""Doubles and harnesses of the PostgreSQL side: a volume in memory, real agents as processes, and where they lie."""

from borealis_engine.postgres.testing.agents import Agent
from borealis_engine.postgres.testing.memory import MemorySink, MemoryVolume
from borealis_engine.postgres.testing.place import place

__all__ = ["Agent", "MemorySink", "MemoryVolume", "place"]
