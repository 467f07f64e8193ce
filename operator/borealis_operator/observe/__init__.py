"""What is true now: live objects of one cluster in a few calls, and the latest word of its agents."""
