"""Where the framework finds the Kubernetes API: where the official client, which ours is built upon, finds it too.

Inside a pod it is the service account, reached by the address that the kubelet gave, so that the operator works while
the cluster's DNS does not; elsewhere it is KUBECONFIG.
"""

import dataclasses
import os
from typing import Any, Final

import kopf
import yaml

from borealis_operator.api.errors import KubeError

HOST: Final = "KUBERNETES_SERVICE_HOST"
PORT: Final = "KUBERNETES_SERVICE_PORT"


def inside() -> bool:
    """Whether this process runs in a pod and was not told otherwise by KUBECONFIG."""
    return bool(os.environ.get(HOST)) and not os.environ.get("KUBECONFIG")


def find_credentials(**kwargs: Any) -> kopf.ConnectionInfo:
    """Give address and credentials of the API server; KubeError if there are none."""
    given = {"settings": kopf.OperatorSettings(), **kwargs}
    try:
        info = kopf.login_with_service_account(**given) if inside() else kopf.login_with_kubeconfig(**given)
    except (OSError, KeyError, ValueError, kopf.LoginError, yaml.YAMLError) as error:
        raise KubeError(f"no access to a Kubernetes API: {error}; set KUBECONFIG") from error
    if info is None:
        raise KubeError("no access to a Kubernetes API: no service account and no kubeconfig; set KUBECONFIG")
    return dataclasses.replace(info, server=_server()) if inside() else info


def _server() -> str:
    host = os.environ[HOST]
    return f"https://{f'[{host}]' if ':' in host else host}:{os.environ.get(PORT) or 443}"
