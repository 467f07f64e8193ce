"""Admission policies: whom they meet, what they say, and the project's own among them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from borealis_local.cli.assets import directory, documents
from borealis_local.control.cleanup import Cleanup
from borealis_local.errors import ApiError
from borealis_local.server.api import CONTROL
from borealis_local.server.removal import DeleteOptions
from borealis_local.server.writes import MERGE
from borealis_local.testing import MemoryApi

API = "admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}
SMALL = {"expression": "!has(object.data) || size(object.data) < 2", "message": "data: has too many keys"}


def policy(*validations: dict[str, Any], rule: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    constraints = {"resourceRules": [{**RULE, **(rule or {})}]}
    return {"matchConstraints": constraints, "validations": list(validations or [SMALL]), **spec}


def install(api: MemoryApi, spec: dict[str, Any], **binding: Any) -> None:
    api.make("ValidatingAdmissionPolicy", "p", api=API, spec=spec)
    bound = {"policyName": "p", "validationActions": ["Deny"], **binding}
    api.make("ValidatingAdmissionPolicyBinding", "b", api=API, spec=bound)


def refused(api: MemoryApi, name: str = "c", **parts: Any) -> ApiError | None:
    """Give what a creation with two keys is answered, or None."""
    try:
        api.make("ConfigMap", name, data={"x": "1", "y": "2"}, **parts)
    except ApiError as error:
        return error
    return None


def test_the_answer_is_kubernetes_own() -> None:
    api = MemoryApi()
    install(api, policy())
    error = refused(api)
    assert error is not None
    assert (error.code, error.reason) == (422, "Invalid")
    told = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: data: has too many keys"
    assert error.message == f'configmaps "c" is forbidden: {told}'
    assert error.details == {"name": "c", "kind": "configmaps", "causes": [{"message": told}]}
    api.make("ConfigMap", "d", data={"x": "1"})


def test_a_policy_without_a_binding_that_denies_does_nothing() -> None:
    api = MemoryApi()
    api.make("ValidatingAdmissionPolicy", "p", api=API, spec=policy())
    assert refused(api) is None
    warning = {"policyName": "p", "validationActions": ["Warn", "Audit"]}
    api.make("ValidatingAdmissionPolicyBinding", "b", api=API, spec=warning)
    assert refused(api, "d") is None


@pytest.mark.parametrize(
    ("rule", "meets"),
    [
        ({}, True),
        ({"resources": ["*"]}, True),
        ({"resources": ["*/*"]}, True),
        ({"resources": ["configmaps/status"]}, False),
        ({"resources": ["secrets"]}, False),
        ({"operations": ["*"]}, True),
        ({"operations": ["DELETE"]}, False),
        ({"apiGroups": ["*"], "apiVersions": ["*"]}, True),
        ({"apiGroups": ["apps"]}, False),
        ({"scope": "Cluster"}, False),
        ({"scope": "Namespaced"}, True),
        ({"resourceNames": ["c"]}, True),
        ({"resourceNames": ["other"]}, False),
    ],
    ids=str,
)
def test_whom_a_rule_meets(rule: dict[str, Any], meets: bool) -> None:
    api = MemoryApi()
    install(api, policy(rule=rule))
    assert (refused(api) is not None) is meets


@pytest.mark.parametrize(
    ("limits", "meets"),
    [
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, False),
        ({"objectSelector": {"matchLabels": {"a": "b"}}}, True),
        ({"objectSelector": {"matchLabels": {"a": "c"}}}, False),
        ({"excludeResourceRules": [{**RULE, "operations": ["*"]}]}, False),
        ({"resourceRules": [{**RULE, "resources": ["secrets"]}]}, False),
    ],
    ids=["its namespace", "another", "its label", "another label", "excluded", "other resources"],
)
def test_whom_a_binding_meets(limits: dict[str, Any], meets: bool) -> None:
    api = MemoryApi()
    install(api, policy(), matchResources=limits)
    assert (refused(api, metadata={"labels": {"a": "b"}}) is not None) is meets


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (policy({"expression": "false"}), "failed expression: false"),
        (policy({"expression": "false", "messageExpression": "'no ' + request.name"}), "no c"),
        (policy({"expression": "false", "message": "no", "messageExpression": "object.none"}), "no"),
        (policy({"expression": "variables.n < 2"}, variables=[{"name": "n", "expression": "size(object.data)"}]), "n"),
        (policy({"expression": "object.none == 1"}), "resulted in error"),
        (policy({"expression": "object.none == 1"}, failurePolicy="Ignore"), None),
        (policy(matchConditions=[{"name": "m", "expression": "request.operation == 'UPDATE'"}]), None),
        (policy({"expression": "oldObject == null && request.namespace == 'default'"}), None),
        (policy({"expression": "namespaceObject.metadata.name == request.namespace"}), None),
    ],
    ids=["expression", "words", "fixed", "variable", "error", "ignored", "condition", "create", "namespace"],
)
def test_what_a_policy_says(spec: dict[str, Any], told: str | None) -> None:
    api = MemoryApi()
    install(api, spec)
    error = refused(api)
    assert (error is None) if told is None else (error is not None and told in error.message)


def test_reasons_choose_the_code() -> None:
    api = MemoryApi()
    install(api, policy({"expression": "false", "reason": "Forbidden"}))
    error = refused(api)
    assert error is not None
    assert (error.code, error.reason) == (403, "Forbidden")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (policy({"expression": "1 +"}), "spec.validations[0].expression"),
        (policy({"expression": "true", "messageExpression": "'"}), "spec.validations[0].messageExpression"),
        (policy(variables=[{"name": "v", "expression": "("}]), "spec.variables[0].expression"),
        ({"matchConstraints": {"resourceRules": [RULE]}}, "spec.validations"),
        (policy(paramKind={"apiVersion": "v1", "kind": "ConfigMap"}), "spec.paramKind"),
    ],
    ids=["expression", "message", "variable", "empty", "parameters"],
)
def test_bad_policies_are_refused(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ApiError) as caught:
        MemoryApi().make("ValidatingAdmissionPolicy", "p", api=API, spec=spec)
    assert caught.value.details is not None
    assert [c["field"] for c in caught.value.details["causes"]] == [field]


def test_a_policy_cannot_lock_out_its_own_removal() -> None:
    api = MemoryApi()
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}
    install(api, policy({"expression": "false"}, rule=everything))
    assert refused(api) is not None
    api.remove("ValidatingAdmissionPolicy", "p", api=API)
    assert refused(api) is None


# --- the project's own --------------------------------------------------------------------------------------------


def protecting() -> MemoryApi:
    """Give an API with the CRDs and policies that ship with Borealis."""
    api = MemoryApi()
    shipped: list[Path] = [*directory("crds").glob("*.yaml"), *directory("policies").glob("*.yaml")]
    for document in (d for path in shipped for d in documents(path)):
        resource = api.kind(document["apiVersion"], document["kind"])
        api.writes.create(resource, "", copy.deepcopy(document), CONTROL)
    return api


def cluster(api: MemoryApi, *, protected: bool | None) -> None:
    spec: dict[str, Any] = {} if protected is None else {"deletionProtection": protected}
    api.make("DBCluster", "q", api="borealis.dev/v1alpha1", spec=spec)


def test_a_protected_cluster_cannot_be_deleted() -> None:
    api = protecting()
    cluster(api, protected=True)
    with pytest.raises(ApiError) as caught:
        api.remove("DBCluster", "q", api="borealis.dev/v1alpha1")
    assert caught.value.code == 403
    assert caught.value.message.startswith(
        "dbclusters.borealis.dev \"q\" is forbidden: ValidatingAdmissionPolicy 'borealis-deletion-protection' "
        "with binding 'borealis-deletion-protection' denied request: spec.deletionProtection is true"
    )
    assert "kubectl patch dbcluster q --namespace default --type=merge" in caught.value.message
    resource = api.kind("borealis.dev/v1alpha1", "DBCluster")
    patch = json.dumps({"spec": {"deletionProtection": False}}).encode()
    api.writes.patch(resource, "default", "q", MERGE, patch, CONTROL)
    api.remove("DBCluster", "q", api="borealis.dev/v1alpha1")
    assert api.find("DBCluster", "q", api="borealis.dev/v1alpha1") is None


@pytest.mark.parametrize("protected", [None, False], ids=str)
def test_others_can(protected: bool | None) -> None:
    api = protecting()
    cluster(api, protected=protected)
    api.remove("DBCluster", "q", api="borealis.dev/v1alpha1")


async def test_a_namespace_waits_for_what_a_policy_protects() -> None:
    api = protecting()
    space = api.kind("v1", "Namespace")
    kind = api.kind("borealis.dev/v1alpha1", "DBCluster")
    api.writes.create(space, "", {"metadata": {"name": "n"}}, CONTROL)
    made = {"metadata": {"name": "q"}, "spec": {"deletionProtection": True}}
    held = api.writes.create(kind, "n", made, CONTROL)
    api.delete(space, "", "n", DeleteOptions())
    await Cleanup(api).sync()
    assert api.writes.read(space, "", "n")["metadata"]["deletionTimestamp"]
    free = {**held, "spec": {**held["spec"], "deletionProtection": False}}
    api.writes.update(kind, "n", "q", free, CONTROL)
    await Cleanup(api).sync()
    with pytest.raises(ApiError, match="not found"):
        api.writes.read(space, "", "n")
