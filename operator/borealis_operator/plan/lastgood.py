"""What stands in for fields that are wrong: what the live objects were made with, so that a mistake changes nothing.

Fields that no live object tells of fall back to their defaults.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from borealis_operator.api.classes import Resources
from borealis_operator.api.fields import section
from borealis_operator.api.names import master_name
from borealis_operator.plan.facts import Facts
from borealis_operator.render.secrets import DEFAULT_DATABASE, read_secret


def with_last_good(facts: Facts) -> Facts:
    """Give the facts with a spec in which no wrong field moves what is there."""
    wrong = {fault.field for fault in facts.faults}
    changes = {name: value for field, name, value in _live_values(facts) if field in wrong and value is not None}
    if not changes:
        return facts
    spec = replace(facts.cluster.spec, **changes)
    return replace(facts, cluster=replace(facts.cluster, spec=spec))


def _live_values(facts: Facts) -> Iterator[tuple[str, str, Any]]:
    """Give (field, name in ClusterSpec, value that the live objects have); None if they do not tell."""
    cluster = facts.cluster
    generated = sum(1 for i in facts.instances if i.generated and not i.deleting)
    yield "spec.readers", "readers", generated - 1 if generated else None
    claims = [live for (kind, _), live in sorted(facts.objects.items()) if kind == "PersistentVolumeClaim"]
    claim = section(claims[0] if claims else {}, "spec")
    size = str(section(claim, "resources", "requests").get("storage") or "")
    yield "spec.storage.size", "storage", replace(cluster.spec.storage, size=size) if size else None
    master = facts.live("Secret", master_name(cluster.name))
    if master:
        yield "spec.masterUsername", "master_username", read_secret(master, "username") or None
        database = read_secret(master, "dbname")
        yield "spec.databaseName", "database_name", "" if database == DEFAULT_DATABASE else database
    yield "spec.instance.dbInstanceClass", "instance_class", _live_class(facts)
    resources = _live_resources(facts)
    yield "spec.instance.resources.cpu", "resources", resources
    yield "spec.instance.resources.memory", "resources", resources


def _live_class(facts: Facts) -> str | None:
    """Give the class that instances without one of their own have now."""
    told = [i.status.get("dbInstanceClass") for i in facts.instances if not i.instance_class and not i.deleting]
    return next((str(name) for name in told if name is not None), None)


def _live_resources(facts: Facts) -> Resources | None:
    """Give what the newest pod of an instance without a class of its own reserves."""
    plain = {i.name for i in facts.instances if not i.instance_class}
    newest = max((p for p in facts.instance_pods if p.instance in plain), key=lambda p: p.created, default=None)
    live = facts.live("Pod", newest.name) if newest else None
    containers = section(live or {}, "spec").get("containers") or ()
    if not containers:
        return None
    asked = section(containers[0], "resources", "requests")
    return Resources(cpu=str(asked.get("cpu", "")), memory=str(asked.get("memory", "")))
