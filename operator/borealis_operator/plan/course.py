"""The course of one pass: which steps are due now, in which order, and when to look again."""

from dataclasses import dataclass
from typing import Final

from borealis_operator.api.errors import OperatorError, StateBroken
from borealis_operator.api.forgiving import summarize
from borealis_operator.api.instance import Instance
from borealis_operator.plan.actions import Action, Announce, AskPromotion, Patch, SetDatabase
from borealis_operator.plan.autoscaling import tend_autoscaler
from borealis_operator.plan.copies import Fate, all_copies, newcomer
from borealis_operator.plan.deletion import DELETING
from borealis_operator.plan.facts import Facts, Pod
from borealis_operator.plan.failover import Promote, decide_promotion
from borealis_operator.plan.instance_status import render_instance_status
from borealis_operator.plan.instance_steps import tend_instance_pods, tend_instances
from borealis_operator.plan.password import master_password
from borealis_operator.plan.policies import tend_policy
from borealis_operator.plan.rollout import announce_rollout, due_pods, roll_out
from borealis_operator.plan.roster import assign_places, class_faults
from borealis_operator.plan.settings import push_settings
from borealis_operator.plan.status import (
    AVAILABLE,
    FAILING_OVER,
    decide_phase,
    render_status,
    status_patch,
)
from borealis_operator.plan.steps import (
    label_roles,
    lay_foundation,
    offer_tls,
    push_config,
    restore_labels,
    switch_endpoints,
    tend_storage,
    tend_volume,
)
from borealis_operator.plan.storage import storage_condition
from borealis_operator.plan.turns import announce_turns
from borealis_operator.render.secrets import render_database

SETTLED_S: Final = 10.0
BUSY_S: Final = 1.0
URGENT_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What to do, in order, and after how many seconds to look again if no event comes first.

    `hold` says why nobody is asked to become the writer, `trouble` what the pass finds amiss.
    """

    actions: tuple[Action, ...]
    delay: float
    hold: str
    trouble: OperatorError | None


def plan_course(facts: Facts) -> Course:
    """Give the work of a pass of one DBCluster that is not being deleted; `plan_report` comes after it."""
    urgent, hold = _succeed(facts)
    actions: list[Action] = list(urgent)
    actions += switch_endpoints(facts)
    actions += restore_labels(facts)
    actions += tend_policy(facts)
    actions += lay_foundation(facts)
    trouble: OperatorError | None = summarize((*facts.faults, *class_faults(facts)))
    try:
        actions += _tend(facts)
    except StateBroken as error:
        trouble = error
    actions += offer_tls(facts)
    actions += tend_autoscaler(facts)
    database, _ = _database(facts)
    delay = _delay(facts, bool(actions or database))
    return Course(actions=tuple(actions), delay=delay, hold=hold, trouble=trouble)


def plan_report(facts: Facts, course: Course, *, refusal: OperatorError | None) -> tuple[Action, ...]:
    """Give events and statuses, then what is asked of agents for applications; `refusal` is what the work met with."""
    database, database_set = _database(facts)
    broken = course.trouble if isinstance(course.trouble, StateBroken) else None
    told = _tell(facts, course.hold, broken or refusal or course.trouble, database_set=database_set)
    return (*told, *push_settings(facts), *database)


def _tend(facts: Facts) -> list[Action]:
    """Give what keeps volume and instances as they should be; StateBroken if the volume's membership is lost."""
    config, actions = tend_volume(facts)
    if facts.volume is None and config.sealed:
        return actions  # nobody acts on what was only just made again
    actions += tend_storage(facts, config)
    if facts.volume and facts.volume.config.sealed:
        actions += push_config(facts, config)
        actions += tend_instances(facts)
        pods = list(tend_instance_pods(facts, config))
        actions += pods or roll_out(facts)
        actions += label_roles(facts)
    return actions


def _succeed(facts: Facts) -> tuple[list[Action], str]:
    """Find a writer if there is none: the most urgent thing there is, so it comes first."""
    sealed = facts.volume is not None and facts.volume.config.sealed
    if facts.writer or not (sealed or facts.cluster.status.epoch):
        return [], ""
    unheard = [p.name for p in facts.instance_pods if p.phase == "Running" and p.ip and p.agent.unheard]
    if unheard:
        return [], f"{unheard[0]} has not been heard yet"
    tiers = {i.name: i.tier for i in facts.instances if not i.deleting}
    decision = decide_promotion(facts.instance_pods, tiers, asked=facts.asked, due=due_pods(facts))
    if not isinstance(decision, Promote):
        return _started(facts, decision.reason), decision.reason
    reason = f"{decision.pod.name} is asked to become the writer: {decision.reason}"
    return [AskPromotion(pod=decision.pod), *_started(facts, reason)], reason


def _started(facts: Facts, reason: str) -> list[Action]:
    """Announce a failover, once: when the written status still says that all is well."""
    before = facts.cluster.status
    if before.phase != AVAILABLE:
        return []
    lost = f"{before.writer or 'the writer'} of epoch {before.epoch} is gone"
    patch = Patch(kind="DBCluster", name=facts.cluster.name, body={"status": {"status": FAILING_OVER}}, status=True)
    return [Announce(reason="FailoverStarted", message=f"{lost}; {reason}", warning=True), patch]


def _completed(facts: Facts) -> list[Action]:
    before, writer = facts.cluster.status, facts.writer
    status = writer.instance_status if writer else None
    if writer is None or status is None or not status.ready:
        return []
    if before.epoch == 0:
        return [Announce(reason="WriterElected", message=f"{writer.name} writes in epoch {status.epoch}")]
    if status.epoch > before.epoch:
        message = f"{writer.name} writes in epoch {status.epoch}, after epoch {before.epoch}"
        return [Announce(reason="FailoverCompleted", message=message)]
    if before.phase == FAILING_OVER and not writer.terminating:
        return [Announce(reason="FailoverCancelled", message=f"{writer.name} still writes in epoch {status.epoch}")]
    return []


def _storage_turned(facts: Facts) -> list[Action]:
    """Announce that the volume is no longer whole, or whole again."""
    now = storage_condition(facts)
    before = facts.cluster.status.condition(now["type"]).get("status", now["status"])
    if not facts.cluster.status.epoch or before == now["status"]:
        return []
    whole = now["status"] == "True"
    return [Announce(reason="StorageWhole" if whole else "StorageDegraded", message=now["message"], warning=not whole)]


def _database(facts: Facts) -> tuple[list[Action], bool]:
    """Give the request that makes roles and first database true, and whether they are known to be."""
    writer, password = facts.writer, master_password(facts)
    status = writer.instance_status if writer else None
    if writer is None or status is None or not status.ready or not password:
        return [], False
    database = render_database(facts.cluster, password)
    if status.database == database.digest:
        return [], True
    return [SetDatabase(pod=writer, database=database)], False


def _tell(facts: Facts, hold: str, trouble: OperatorError | None, *, database_set: bool) -> list[Action]:
    """Give events and statuses that have changed."""
    cluster = facts.cluster
    phase = decide_phase(cluster.status.phase, cluster.status.epoch, facts.writer, database_set=database_set)
    phase = DELETING if cluster.deleting else phase
    status = render_status(facts, phase=phase, hold=hold, trouble=trouble, database_set=database_set)
    told: list[Action] = [*_completed(facts), *_storage_turned(facts), *announce_rollout(facts)]
    told += announce_turns(cluster.status.conditions, status["conditions"])
    if patch := status_patch(cluster.status.raw, status, now=facts.now, refresh=not cluster.deleting):
        told.append(Patch(kind="DBCluster", name=cluster.name, body={"status": patch}, status=True))
    for place in assign_places(facts):
        instance = place.instance
        said = render_instance_status(facts, place, _pod_of(instance, facts))
        if {k: instance.status.get(k) for k in said} != dict(said):
            told.append(Patch(kind="DBInstance", name=instance.name, body={"status": said}, status=True))
    return told


def _pod_of(instance: Instance, facts: Facts) -> Pod | None:
    own = [p for p in facts.instance_pods if p.instance == instance.name and not p.terminating]
    return max(own, key=lambda p: (p.instance_status is not None, p.created), default=None)


def _delay(facts: Facts, acted: bool) -> float:
    if facts.writer is None and facts.cluster.status.phase in (AVAILABLE, FAILING_OVER, DELETING):
        return URGENT_S
    if any(copy.fate is Fate.AILING for copy in all_copies(facts)) or newcomer(facts):
        return BUSY_S
    quiet = facts.writer is not None and not any(p.agent.suspect or p.agent.status is None for p in facts.pods)
    return SETTLED_S if quiet and not acted else BUSY_S
