"""The few kinds of things that a pass may do, as values, in the order in which they are to be done.

A pass that fails between two actions leaves a state from which the next pass goes on: no action relies on a later one.
"""

from dataclasses import dataclass
from typing import TypeAlias

from borealis_engine.contract.settings import Settings
from borealis_engine.contract.status import DatabaseSpec
from borealis_engine.contract.volume import VolumeConfig

from borealis_operator.plan.facts import Manifest, Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make an object that must not exist yet."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Make the fields of the manifest true, by server-side apply."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Put a whole object in place of the one whose resourceVersion it bears: compare-and-swap."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Merge a change into an object, or into its status."""

    kind: str
    name: str
    body: Manifest
    status: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete the object of that uid; one that is gone already is fine."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCertificates:
    """Make the cluster's authority if there is none, and the leaf certificates of `roles`."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeMaster:
    """Make the master user's Secret with a password that nobody else knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Post an event on the DBCluster."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushVolume:
    """Tell a pod the volume configuration."""

    pod: Pod
    config: VolumeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPromotion:
    """Ask a pod to become the writer."""

    pod: Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDatabase:
    """Have the writer make roles, password and first database true."""

    pod: Pod
    database: DatabaseSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSettings:
    """Have instances take PostgreSQL's parameters, as far as they can without a restart; all at once."""

    pods: tuple[Pod, ...]
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Write the volume's next membership by compare-and-swap, once the claim that it calls for is there.

    Where one part is refused, those after it are left out.
    """

    claim: Create | None
    config: Replace
    told: Announce


Action: TypeAlias = (
    Create
    | Apply
    | Replace
    | Patch
    | Delete
    | MakeCertificates
    | MakeMaster
    | Announce
    | PushVolume
    | AskPromotion
    | SetDatabase
    | SetSettings
    | Move
)
