"""The HorizontalPodAutoscaler of a cluster's readers: it works on the scale subresource of the DBCluster.

Policies of how many at once are left to Kubernetes; what the user may set are bounds, target and windows.
"""

from typing import Final

from borealis_operator.api.autoscaling import Autoscaling
from borealis_operator.api.cluster import Cluster
from borealis_operator.api.names import API_VERSION
from borealis_operator.render.metadata import Object, render_metadata

AUTOSCALER: Final = "HorizontalPodAutoscaler"


def autoscaler_name(cluster: str) -> str:
    """Name of the HorizontalPodAutoscaler that the operator makes."""
    return f"{cluster}-readers"


def render_autoscaler(cluster: Cluster, scaling: Autoscaling) -> Object:
    """Give the HorizontalPodAutoscaler."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": AUTOSCALER,
        "metadata": render_metadata(cluster, autoscaler_name(cluster.name)),
        "spec": {
            "scaleTargetRef": {"apiVersion": API_VERSION, "kind": "DBCluster", "name": cluster.name},
            "minReplicas": scaling.min_readers,
            "maxReplicas": scaling.max_readers,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": scaling.target_cpu},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": scaling.scale_out_s},
                "scaleDown": {"stabilizationWindowSeconds": scaling.scale_in_s},
            },
        },
    }
