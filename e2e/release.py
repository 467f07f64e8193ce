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

    def install(self, images: Images, *, replicas: int = 1) -> None:
        """Install the chart and wait until the operator runs."""
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
        run(*command, "--set", f"operator.replicas={replicas}", timeout=240)

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

    def avoid(self, node: str) -> bool:
        """See to it that no operator pod runs on a Kubernetes node; True if one had to move."""
        jump = "{.items[*].spec.nodeName}"
        if node not in self.kind.kubectl("get", "pods", "-n", NAMESPACE, "-l", SELECTOR, "-o", f"jsonpath={jump}"):
            return False
        self.kind.kubectl("cordon", node)
        try:
            self.renew()
        finally:
            self.kind.kubectl("uncordon", node)
        return True
