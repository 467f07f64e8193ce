"""DBInstance: one instance of a cluster, made by the operator for `spec.readers` or by a user on top."""

from dataclasses import dataclass
from typing import Final

from borealis_operator.api.classes import CLASS_NAME
from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.fields import Raw, number, section, text, timestamp
from borealis_operator.api.names import LABEL_MANAGED, MANAGER

DEFAULT_TIER: Final = 1
MAX_TIER: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One DBInstance; `generated` ones come and go with `spec.readers`."""

    name: str
    uid: str
    cluster: str
    tier: int
    generated: bool
    owned: bool  # bears the owner reference of a DBCluster
    owners: tuple[Raw, ...]  # owner references, of others too
    version: str  # resourceVersion
    created: float  # seconds since 1970
    deleting: bool
    status: Raw
    instance_class: str = ""  # empty: as the DBCluster says
    generation: int = 1
    fault: str = ""  # what is wrong with its spec; a default stands in for it


def parse_instance(raw: Raw) -> Instance:
    """Parse a DBInstance; ConfigInvalid names the first field that is wrong."""
    meta, spec = section(raw, "metadata"), section(raw, "spec")
    cluster, owners = text(spec, "clusterName", "spec.clusterName"), tuple(meta.get("ownerReferences") or ())
    if not cluster:
        raise ConfigInvalid("spec.clusterName", "is missing", "name a DBCluster of this namespace")
    return Instance(
        name=meta["name"],
        uid=meta["uid"],
        cluster=cluster,
        tier=number(spec, "promotionTier", "spec.promotionTier", default=DEFAULT_TIER, low=0, high=MAX_TIER),
        generated=section(meta, "labels").get(LABEL_MANAGED) == MANAGER,
        owned=any(owner.get("kind") == "DBCluster" for owner in owners),
        owners=owners,
        version=str(meta.get("resourceVersion", "")),
        created=timestamp(meta.get("creationTimestamp")),
        deleting=bool(meta.get("deletionTimestamp")),
        status=section(raw, "status"),
        instance_class=text(
            spec,
            "dbInstanceClass",
            "spec.dbInstanceClass",
            pattern=CLASS_NAME,
            remedy="use a name such as db.large",
        ),
        generation=int(meta.get("generation", 1)),
    )
