"""The engine: storage nodes that keep the volume, and agents that run PostgreSQL on it."""
