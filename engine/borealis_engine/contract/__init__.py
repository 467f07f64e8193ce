"""What engine and operator agree on: the only part of the engine that the operator may import.

Plain frozen values with a JSON form, names of environment variables, ports and paths. No behaviour.
"""
