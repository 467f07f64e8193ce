"""What an instance pod gets for the sake of its clients: PostgreSQL's parameters, and the certificate that it shows.

Both are as known when the pod is made: parameters follow later by the agent, a certificate only with the next pod.
"""

from typing import Final

from borealis_engine.contract import names
from borealis_engine.contract.settings import Settings

from borealis_operator.api.names import LABEL_CLUSTER, SERVER, tls_name
from borealis_operator.render.metadata import Object

SERVER_TLS_PATH: Final = "/etc/borealis/server-tls"
VOLUME: Final = "server-tls"


def equip(pod: Object, settings: Settings, *, server_tls: bool) -> Object:
    """Give an instance pod with its settings, and with the server's certificate if there is one."""
    container = pod["spec"]["containers"][0]
    container["env"].append({"name": names.ENV_SETTINGS, "value": settings.to_json()})
    if server_tls:
        container["env"].append({"name": names.ENV_SERVER_TLS_DIR, "value": SERVER_TLS_PATH})
        container["volumeMounts"].append({"name": VOLUME, "mountPath": SERVER_TLS_PATH, "readOnly": True})
        secret = tls_name(pod["metadata"]["labels"][LABEL_CLUSTER], SERVER)
        pod["spec"]["volumes"].append({"name": VOLUME, "secret": {"secretName": secret, "defaultMode": 0o440}})
    return pod
