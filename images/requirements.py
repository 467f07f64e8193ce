"""Print what some extras of pyproject.toml require, one requirement a line, without the project itself.

Images install this list in a layer of its own, so that a change of code rebuilds only the layer above it.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """Give the sorted requirements of `extras`; KeyError names an extra that does not exist."""
    project = tomllib.loads(pyproject)["project"]
    wanted = set(project["dependencies"])
    for extra in extras:
        wanted.update(project["optional-dependencies"][extra])
    return sorted(wanted)


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path("pyproject.toml").read_text(), sys.argv[1:])) + "\n")
