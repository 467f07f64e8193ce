"""The custom resources as frozen values: what users may ask for, parsed and checked once, at the border.

Nothing beyond this package reads a raw `spec`. A field that is wrong is a `ConfigInvalid` which names the field and
the remedy; it becomes the message of a condition.
"""
