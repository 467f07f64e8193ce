"""The PostgreSQL side of an instance: find, make, attach, configure, supervise, feed, promote and drain one server.

Unmodified PostgreSQL is a child process that owns nothing durable: its directory is laid out from an image, fed with
log, and thrown away when the process ends, however it ended.
"""
