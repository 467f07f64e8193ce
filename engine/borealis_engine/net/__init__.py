"""Sockets: mTLS, the log protocol's connections on both sides, the control and probe servers."""
