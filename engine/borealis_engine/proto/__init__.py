"""Codecs: frames of the log protocol, PostgreSQL's wire protocol, WAL records, image blobs. Bytes in, values out."""
