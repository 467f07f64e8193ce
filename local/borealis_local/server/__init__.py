"""The API server: store, verbs, watches and their HTTP face."""
