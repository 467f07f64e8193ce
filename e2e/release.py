"""The operator, installed as its users install it."""

from dataclasses import dataclass

from e2e.images import MAJOR, Images
from e2e.kind import Kind
from e2e.process import await_that, run

NAMESPACE = "borealis-system"
SELECTOR = "app.kubernetes.io/name=borealis-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The Helm release."""

    kind: Kind

    def install(self, images: Images, *settings: str) -> None:
        """Install or change the release with these images and `settings` (key=value); wait until the operator runs."""
        repository, tag = images.operator.rsplit(":", 1)
        strings = {
            "operator.image.repository": repository,
            "operator.image.tag": tag,
            f"engine.images.{MAJOR}": images.engine,
        }
        command = ["helm", "--kubeconfig", str(self.kind.kubeconfig), "upgrade", "--install", "borealis"]
        command += ["helm/borealis", "--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "180s"]
        for key, value in strings.items():
            command += ["--set-string", f"{key}={value}"]
        for setting in settings:
            command += ["--set", setting]
        run(*command, timeout=240)

    def uninstall(self) -> None:
        """Uninstall the chart and wait until the operator is gone."""
        words = ("uninstall", "borealis", "--namespace", NAMESPACE, "--wait", "--timeout", "90s")
        run("helm", "--kubeconfig", str(self.kind.kubeconfig), *words, timeout=120)

    def notes(self) -> str:
        """Give what the chart tells those who install it."""
        words = ("get", "notes", "borealis", "--namespace", NAMESPACE)
        return run("helm", "--kubeconfig", str(self.kind.kubeconfig), *words)

    def pods(self) -> dict[str, str]:
        """Give the Kubernetes node of each operator pod."""
        form = '{range .items[*]}{.metadata.name} {.spec.nodeName}{"\\n"}{end}'
        told = self.kind.kubectl("get", "pods", "-n", NAMESPACE, "-l", SELECTOR, "-o", f"jsonpath={form}")
        return dict(line.split() for line in told.splitlines() if len(line.split()) == 2)

    def leader(self) -> str:
        """Give the name of the operator pod that works; empty while there is none."""
        form = "jsonpath={.spec.holderIdentity}"
        return self.kind.kubectl("get", "lease", "-n", NAMESPACE, "borealis-operator", "-o", form).split("_")[0]

    def lead_from(self, node: str) -> None:
        """See to it that the operator that works runs on this Kubernetes node, and another one elsewhere."""
        others = [other for other in self.kind.nodes() if other not in (node, self.kind.control_plane)]
        self.kind.kubectl("cordon", *others)
        try:
            self.renew()
            await_that(f"the lead of {node}", lambda: self.pods().get(self.leader()) == node, timeout=60)
        finally:
            self.kind.kubectl("uncordon", *others)
        leader = self.leader()
        self.kind.kubectl("delete", "pod", "-n", NAMESPACE, *(pod for pod in self.pods() if pod != leader))
        await_that(f"a standby beside {node}", lambda: set(self.pods().values()) > {node}, timeout=60)
        self.await_ready(90)
        assert self.leader() == leader, f"{leader} led, now {self.leader()} does"

    def processes(self) -> list[tuple[str, int]]:
        """Give the operator's processes as (Kubernetes node, process id upon it)."""
        where = "{.items[*].spec.nodeName}"
        nodes = self.kind.kubectl("get", "pods", "-n", NAMESPACE, "-l", SELECTOR, "-o", f"jsonpath={where}").split()
        return [(node, pid) for node in sorted(set(nodes)) for pid in self.kind.find(node, "borealis-operator")]

    def renew(self) -> None:
        """Put a fresh pod in the operator's place: Kubernetes restarts one that was killed before later and later."""
        self.kind.kubectl("delete", "pod", "-n", NAMESPACE, "-l", SELECTOR)
        self.await_ready(90)

    def await_ready(self, timeout: float) -> None:
        """Wait until an operator pod is ready again."""
        words = ("rollout", "status", "-n", NAMESPACE, "deployment", "-l", SELECTOR, "--timeout=5s")
        await_that("the operator is ready", lambda: self.kind.kubectl(*words) or True, timeout=timeout)

    def avoid(self, *nodes: str) -> bool:
        """See to it that no operator pod runs on these Kubernetes nodes; True if one had to move."""
        jump = "{.items[*].spec.nodeName}"
        places = self.kind.kubectl("get", "pods", "-n", NAMESPACE, "-l", SELECTOR, "-o", f"jsonpath={jump}").split()
        if not set(nodes) & set(places):
            return False
        self.kind.kubectl("cordon", *nodes)
        try:
            self.renew()
        finally:
            self.kind.kubectl("uncordon", *nodes)
        return True
