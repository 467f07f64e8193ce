"""Kopf wiring: one daemon per DBCluster, kicked by events of its children. No decisions here.

Children are only watched, never handled: no change detection, no annotations on them.
"""
