"""The Kubernetes API as the operator needs it: a small port, its adapter, and a double of it for tests.

No other package speaks HTTP with the API server. Foreign exceptions end here.
"""
