"""Kopf's settings: few permissions, few writes, no traces of the framework in users' objects."""

import kopf

from borealis_operator.api.names import FINALIZER, GROUP, LABEL_MANAGED, MANAGER


class NoDiffBase(kopf.DiffBaseStorage):
    """Remember nothing of what was handled last: passes are level-triggered, and users' objects stay clean."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Say that what is there was seen before."""
        return self.build(body=body)

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Write nothing."""


def make_settings() -> kopf.OperatorSettings:
    """Give the settings under which the handlers run."""
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 10.0
    settings.networking.connect_timeout = 5.0
    settings.networking.error_backoffs = (0.2, 0.5, 1, 2, 5)
    settings.watching.connect_timeout = 5.0
    settings.queueing.error_delays = (0.5, 1, 2, 5, 10)
    for resource in ("v1/pods", "v1/services", "discovery.k8s.io/v1/endpointslices"):
        settings.watching.label_selectors[resource] = f"{LABEL_MANAGED}={MANAGER}"
    return settings
