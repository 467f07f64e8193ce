"""Reading a program's environment: what is missing or wrong is named together with its remedy."""

import os
from collections.abc import Mapping
from pathlib import Path

from borealis_engine.contract import names
from borealis_engine.contract.volume import VolumeConfig, parse


class ConfigInvalid(Exception):
    """A variable of the environment is missing or wrong; the message names it and says what to do."""


class Environment:
    """The environment of a program."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    def text(self, name: str, remedy: str, default: str | None = None) -> str:
        """Give a variable; ConfigInvalid with the remedy if it is missing or empty and has no default."""
        value = self._variables.get(name) or default
        if value is None:
            raise ConfigInvalid(f"{name} is not set: {remedy}")
        return value

    def folder(self, name: str, remedy: str) -> Path:
        """Give a variable as an absolute path."""
        path = Path(self.text(name, remedy))
        if not path.is_absolute():
            raise ConfigInvalid(f"{name}={path} is not an absolute path: {remedy}")
        return path

    def optional_folder(self, name: str) -> Path | None:
        """Give a variable as an absolute path, None if it is not set."""
        return self.folder(name, "leave it out or give an absolute path") if self._variables.get(name) else None

    def flag(self, name: str, *, default: bool) -> bool:
        """Give a variable that is true or false."""
        value = self.text(name, "", "true" if default else "false")
        if value not in ("true", "false"):
            raise ConfigInvalid(f"{name}={value} is neither true nor false: write one of them")
        return value == "true"

    def seconds(self, name: str, default: float) -> float:
        """Give a variable that is a positive number of seconds."""
        value = self.text(name, "", str(default))
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 3600:
            raise ConfigInvalid(f"{name}={value} is no number of seconds: give one above 0, as {default}")
        return seconds

    def volume(self) -> VolumeConfig:
        """Give the volume's configuration as known when the pod was made."""
        remedy = "give the VolumeConfig as JSON (the operator keeps it in ConfigMap <cluster>-volume)"
        text = self.text(names.ENV_VOLUME, remedy)
        try:
            config = parse(text)
        except ValueError as error:
            raise ConfigInvalid(f"{names.ENV_VOLUME} cannot be read ({error}): {remedy}") from error
        uid = self.text(names.ENV_CLUSTER_UID, "give the uid of the DBCluster")
        if config.cluster_uid != uid:
            raise ConfigInvalid(f"{names.ENV_CLUSTER_UID}={uid}, but {names.ENV_VOLUME} is of {config.cluster_uid}")
        return config
