"""Where the Kubernetes API is and who we are there: the same answer for our own client and for the framework.

Inside a pod it is the service account, reached by the address that the kubelet gave, so that the operator works while
the cluster's DNS does not; elsewhere it is KUBECONFIG. A service account's token is replaced in its file long before
it ends: whoever keeps a connection reads it again.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any, Final

import kopf
import yaml

from borealis_operator.api.errors import KubeError

TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
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


def authorization(info: kopf.ConnectionInfo) -> dict[str, str]:
    """Give the headers that say who we are, with the token as it is now in its file."""
    if not inside():
        return info.as_http_headers()
    try:
        return {"Authorization": f"Bearer {TOKEN_FILE.read_text().strip()}"}
    except OSError:
        return info.as_http_headers()


def _server() -> str:
    host = os.environ[HOST]
    return f"https://{f'[{host}]' if ':' in host else host}:{os.environ.get(PORT) or 443}"
