"""The Kubernetes API as the operator needs it: a small port, its adapter, and a double of it for tests.

No other package imports `kubernetes`. Foreign exceptions end here.
"""
