"""The log protocol as pure state machines: times and messages in, effects out."""
