"""The core's test double of the world: seeded simulator of network, disks, clocks, faults, and the oracle over it."""
