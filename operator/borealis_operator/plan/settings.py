"""PostgreSQL's parameters: which ones the instances should have, who must be told, and what became of them.

The names in `OWN` never reach an instance. Whether the others exist and take their values only PostgreSQL knows, so
what it refuses, or takes at its next start only, comes back in the statuses and is told in a condition.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

from borealis_engine.contract.settings import OWN, Settings

from borealis_operator.plan.actions import SetSettings
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Facts, Pod
from borealis_operator.plan.space import volume_is_full

APPLIED: Final = "ParametersApplied"
PLAIN: Final = Settings()


def render_settings(parameters: Mapping[str, str], *, read_only: bool) -> Settings:
    """Give what every instance should have in force; the digest is empty if that is nothing but the defaults."""
    allowed = {name: value for name, value in sorted(parameters.items()) if name not in OWN}
    plain = Settings(parameters=allowed, read_only=read_only)
    digest = "" if plain == PLAIN else hashlib.sha256(plain.to_json().encode()).hexdigest()[:32]
    return Settings(parameters=allowed, read_only=read_only, digest=digest)


def wanted_settings(facts: Facts) -> Settings:
    """Give the settings that the cluster's instances should have now."""
    return render_settings(facts.cluster.spec.parameters, read_only=volume_is_full(facts))


def push_settings(facts: Facts) -> Iterator[SetSettings]:
    """Tell every instance that answers and has others in force; one of an older release would not understand."""
    wanted = wanted_settings(facts)
    late = tuple(p for p in _told(facts) if not p.agent.outdated and not has_settings(p, wanted))
    if late:
        yield SetSettings(pods=late, settings=wanted)


def has_settings(pod: Pod, wanted: Settings) -> bool:
    """Whether the settings are in force in an instance that answers, as far as they can be without a restart."""
    status = pod.instance_status
    return status is not None and status.settings == wanted.digest


def restart_names(facts: Facts, pod: Pod, wanted: Settings) -> tuple[str, ...]:
    """Give the parameters for which an instance waits to be restarted; none while it does not know the last ones.

    What another instance refuses, perhaps because it did not start with it, is not worth a restart.
    """
    status = pod.instance_status
    if status is None or not has_settings(pod, wanted):
        return ()
    return tuple(sorted(set(status.pending_restart) - set(_refused(facts, wanted))))


def parameters_condition(facts: Facts, *, waits: str = "") -> Condition:
    """Say whether every instance has the parameters, or what keeps them; `waits`: what a restart waits for."""
    wanted = wanted_settings(facts)
    if reserved := sorted(set(facts.cluster.spec.parameters) & set(OWN)):
        return condition(APPLIED, False, "ParameterReserved", "; ".join(_reserved(name) for name in reserved))
    if refused := _refused(facts, wanted):
        by_reason: dict[str, list[str]] = {}
        for name, why in sorted(refused.items()):
            by_reason.setdefault(why, []).append(f"spec.parameters.{name}")
        told = "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items())
        message = f"{told}; correct or remove it, the other parameters are in force"
        return condition(APPLIED, False, "ParameterRefused", message)
    if pending := {pod.name: names for pod in _told(facts) if (names := restart_names(facts, pod, wanted))}:
        all_names = ", ".join(sorted({name for some in pending.values() for name in some}))
        message = f"{all_names}: in force once these instances are restarted, which is done one by one: "
        return condition(APPLIED, False, "RestartPending", message + ", ".join(sorted(pending)) + _because(waits))
    if late := [pod for pod in _told(facts) if not has_settings(pod, wanted)]:
        return condition(APPLIED, False, "Pending", "; ".join(_late(pod) for pod in late))
    count = len(wanted.parameters)
    return condition(APPLIED, True, "Applied", f"{count} parameters are in force" if count else "none are set")


def _told(facts: Facts) -> list[Pod]:
    """Give the instance pods that can be told anything, in the order of their names."""
    return sorted((p for p in facts.instance_pods if p.instance_status and not p.terminating), key=lambda p: p.name)


def _refused(facts: Facts, wanted: Settings) -> dict[str, str]:
    """Give what any instance does not take of the settings that it was last told."""
    statuses = [s for p in _told(facts) if (s := p.instance_status) and s.settings == wanted.digest]
    return {name: why for s in reversed(statuses) for name, why in s.refused.items() if name in wanted.parameters}


def _reserved(name: str) -> str:
    return f"spec.parameters.{name}: is Borealis's own: {OWN[name]}; remove it"


def _late(pod: Pod) -> str:
    if pod.agent.outdated:
        remedy = "takes parameters only when it is made anew with a newer image, by engine.images of the chart"
        return f"{pod.name} is of an older release, and {remedy}"
    return f"{pod.name} does not have them yet"


def _because(waits: str) -> str:
    return f"; {waits}" if waits else ""
