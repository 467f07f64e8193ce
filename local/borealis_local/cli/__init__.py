"""The `borealis local` commands: thin clients of the API server, and the start and end of the supervisor."""
