"""Tests of the operator, as a package of its own name.

Without it, pytest would name the modules after their folders, and the folder `operator` would shadow the standard
library's module of that name.
"""
