"""Carries out actions in order; a failure of the Kubernetes API ends the pass, a deaf agent or a lost event does not.

Whatever was not done is planned again by the next pass from what is then true.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from borealis_engine.contract.settings import Settings

from borealis_operator.api.cluster import Cluster
from borealis_operator.api.errors import (
    AgentError,
    AlreadyExists,
    Conflict,
    KubeDown,
    KubeError,
    NameTaken,
    NotFound,
    OperatorError,
    StateBroken,
)
from borealis_operator.api.names import API_VERSION, SERVER, TLS_ROLES, ca_name, tls_name
from borealis_operator.execute.certificates import Pair, issue_leaf, issue_server, make_authority
from borealis_operator.kube.port import Kube
from borealis_operator.observe.port import Agents
from borealis_operator.plan import actions as do
from borealis_operator.plan.facts import Facts, Manifest, Pod
from borealis_operator.render.autoscaling import AUTOSCALER
from borealis_operator.render.objects import render_event
from borealis_operator.render.policies import POLICY
from borealis_operator.render.secrets import read_secret, render_ca, render_leaf, render_master, server_hosts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Effects of one operator."""

    kube: Kube
    agents: Agents

    async def execute(self, facts: Facts, actions: Sequence[do.Action]) -> OperatorError | None:
        """Carry out the actions in order; give the first refusal among those that the others can do without."""
        refusal: OperatorError | None = None
        for action in actions:
            log_action(facts.cluster, action)
            try:
                await self._do(facts, action)
            except (Conflict, KubeDown):
                raise
            except (KubeError, NameTaken) as error:
                if not stands_alone(action):
                    raise
                log.warning("refused: %s", error, extra={"cluster": str(facts.cluster.key)})
                refusal = refusal or error
        return refusal

    async def _do(self, facts: Facts, action: do.Action) -> None:
        match action:
            case do.Create() | do.Apply() | do.Replace() | do.Patch() | do.Delete():
                await self._write(facts.cluster.key.namespace, action)
            case do.MakeCertificates():
                await self._make_certificates(facts, action.roles)
            case do.MakeMaster():
                await self._create(render_master(facts.cluster, secrets.token_urlsafe(24)))
            case do.Announce():
                await self.announce(facts.cluster, action, now=facts.now)
            case do.PushVolume() | do.AskPromotion() | do.SetDatabase():
                await self._ask(action)
            case do.Move():
                for part in (action.claim, action.config, action.told):
                    if part is not None:
                        log_action(facts.cluster, part)
                        await self._do(facts, part)
            case do.SetSettings():
                await asyncio.gather(*(self._set_settings(pod, action.settings) for pod in action.pods))
            case _:
                assert_never(action)

    async def _write(self, namespace: str, action: do.Create | do.Apply | do.Replace | do.Patch | do.Delete) -> None:
        match action:
            case do.Create():
                await self._create(action.manifest)
            case do.Apply():
                await self.kube.apply(action.manifest)
            case do.Replace():
                await self.kube.replace(action.manifest)
            case do.Patch():
                await self._patch(namespace, action)
            case do.Delete():
                await self._delete(namespace, action)
            case _:
                assert_never(action)

    async def announce(self, cluster: Cluster, action: do.Announce, *, now: float) -> None:
        """Post an event on the DBCluster."""
        involved = {
            "apiVersion": API_VERSION,
            "kind": "DBCluster",
            "name": cluster.name,
            "namespace": cluster.key.namespace,
            "uid": cluster.uid,
        }
        name = f"{cluster.name}.{secrets.token_hex(8)}"
        event = render_event(involved, name, action.reason, action.message, warning=action.warning, now=now)
        try:
            await self.kube.create(event)
        except KubeError as error:
            log.warning("event %s of %s is not posted: %s", action.reason, cluster.key, error)

    async def _create(self, manifest: Manifest) -> None:
        """Make an object that no list of the cluster's own has shown: one of that name is somebody else's."""
        try:
            await self.kube.create(manifest)
        except AlreadyExists as error:
            raise NameTaken(manifest["kind"], manifest["metadata"]["name"]) from error

    async def _patch(self, namespace: str, action: do.Patch) -> None:
        try:
            await self.kube.patch(action.kind, namespace, action.name, action.body, status=action.status)
        except NotFound:
            if action.kind == "DBCluster":
                raise

    async def _delete(self, namespace: str, action: do.Delete) -> None:
        with contextlib.suppress(NotFound):
            await self.kube.delete(action.kind, namespace, action.name, uid=action.uid)

    async def _ask(self, action: do.PushVolume | do.AskPromotion | do.SetDatabase) -> None:
        try:
            match action:
                case do.PushVolume():
                    await self.agents.push_volume(action.pod.uid, action.config)
                case do.AskPromotion():
                    await self.agents.promote(action.pod.uid)
                case do.SetDatabase():
                    await self.agents.set_database(action.pod.uid, action.database)
                case _:
                    assert_never(action)
        except AgentError as error:
            log.warning("%s did not obey: %s", action.pod.name, error)

    async def _set_settings(self, pod: Pod, settings: Settings) -> None:
        try:
            await self.agents.set_settings(pod.uid, settings)
        except AgentError as error:
            log.warning("%s did not take its parameters: %s", pod.name, error)

    async def _make_certificates(self, facts: Facts, roles: Sequence[str]) -> None:
        cluster = facts.cluster
        authority = await self._authority(facts)
        for role in roles:
            if role == SERVER:
                leaf = issue_server(authority, server_hosts(cluster))
            else:
                leaf = issue_leaf(authority, cluster.uid, role)
            await self._create(render_leaf(cluster, role, authority.certificate, leaf.certificate, leaf.key))

    async def _authority(self, facts: Facts) -> Pair:
        """Give the cluster's authority; a new one only if nobody bears a certificate of an older one."""
        cluster = facts.cluster
        live = facts.live("Secret", ca_name(cluster.name))
        if live is not None:
            return Pair(certificate=read_secret(live, "tls.crt"), key=read_secret(live, "tls.key"))
        if any(facts.live("Secret", tls_name(cluster.name, role)) for role in TLS_ROLES):
            raise StateBroken(
                f"Secret {ca_name(cluster.name)!r} is gone although certificates of it are in use; restore it, or "
                "delete all of the cluster's -tls- Secrets and its pods"
            )
        authority = make_authority(cluster.uid)
        await self._create(render_ca(cluster, authority.certificate, authority.key))
        return authority


def stands_alone(action: do.Action) -> bool:
    """Whether nothing that comes after relies on the action: one pod that a quota refuses is no reason to stop."""
    match action:
        case do.Create() | do.Apply():
            return action.manifest["kind"] in (
                "Pod",
                "PersistentVolumeClaim",
                "DBInstance",
                "Secret",
                AUTOSCALER,
                POLICY,
            )
        case do.Delete():
            return action.kind in (AUTOSCALER, POLICY)
        case do.MakeCertificates():
            return action.roles == (SERVER,)
        case do.MakeMaster() | do.Move():
            return True
        case do.Patch():
            return action.kind != "DBCluster"
        case _:
            return False


def log_action(cluster: Cluster, action: do.Action) -> None:
    """Log one decision; statuses and address books are not worth a line."""
    extra = {"cluster": str(cluster.key), "epoch": str(cluster.status.epoch)}
    match action:
        case do.Create() | do.Apply() | do.Replace():
            name = action.manifest["metadata"]["name"]
            verb = type(action).__name__.lower()
            log.info("%s %s %s", verb, action.manifest["kind"], name, extra=extra)
        case do.Delete():
            log.info("delete %s %s", action.kind, action.name, extra=extra)
        case do.Announce():
            log.info("%s: %s", action.reason, action.message, extra=extra)
        case do.AskPromotion() | do.SetDatabase():
            log.info("%s %s", type(action).__name__, action.pod.name, extra={**extra, "node": action.pod.name})
        case do.SetSettings():
            log.info("SetSettings %s", ", ".join(pod.name for pod in action.pods), extra=extra)
        case _:
            log.debug("%s", type(action).__name__, extra=extra)
