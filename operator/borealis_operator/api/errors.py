"""Errors of the operator, by blame.

OperatorError
├── ConfigInvalid     the user's object asks for what cannot be
├── StateBroken       objects that the operator relies on were damaged by others
├── NameTaken         an object under a name that the cluster needs is not this cluster's
├── KubeError         the Kubernetes API
│   ├── NotFound      no such object
│   ├── Conflict      somebody wrote first
│   │   └── AlreadyExists  there is an object of that name
│   └── KubeDown      no answer, or an answer that blames the server
└── AgentError        a pod's control port did not do what was asked
    ├── AgentDown     no answer
    └── AgentRefused  an answer, and it was no
        └── AgentOutdated  it is of an older release and does not know what was asked
"""


class OperatorError(Exception):
    """Root of all that the operator raises on purpose."""


class ConfigInvalid(OperatorError):
    """The user's object asks for what cannot be: `field`, what is wrong with it, and what to write instead."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field = field
        self.problem = problem
        self.remedy = remedy


class StateBroken(OperatorError):
    """An object that the operator relies on was removed or damaged, and guessing would lose data or trust."""


class NameTaken(OperatorError):
    """An object under a name that the cluster needs is not this cluster's: it is neither used nor taken over."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"{kind} {name!r} exists already and is not this cluster's; if it is not being deleted, remove or rename "
            "it, or give the DBCluster another name"
        )


class KubeError(OperatorError):
    """The Kubernetes API did not do what was asked."""


class NotFound(KubeError):
    """There is no such object."""


class Conflict(KubeError):
    """Somebody else wrote first: observe again."""


class AlreadyExists(Conflict):
    """There is an object of that name, known to this operator or not."""


class KubeDown(KubeError):
    """No answer in time, or an answer that blames the server: try again later."""


class AgentError(OperatorError):
    """The control port of a pod did not do what was asked."""


class AgentDown(AgentError):
    """No answer in time."""


class AgentRefused(AgentError):
    """The agent answered, and refused."""


class AgentOutdated(AgentRefused):
    """The agent is of an older release and does not know what was asked."""
