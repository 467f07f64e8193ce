"""Admission policies: a denied request, its words, and what a policy leaves alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from kube import MERGE, Answer, Kube, until
from widgets import GROUP, Widgets, widget

BASE = "/apis/admissionregistration.k8s.io/v1"
WORDS = "spec.notes.keep is yes; remove the note first"


def policy(name: str, namespace: str) -> dict[str, Any]:
    """Give a policy that keeps Widgets of one namespace whose note says so."""
    rule = {"apiGroups": [GROUP], "apiVersions": ["*"], "resources": ["widgets"], "operations": ["DELETE"]}
    kept = "has(oldObject.spec.notes) && 'keep' in oldObject.spec.notes && oldObject.spec.notes.keep == 'yes'"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [{"name": "here", "expression": f"request.namespace == '{namespace}'"}],
            "variables": [{"name": "kept", "expression": kept}],
            "validations": [{"expression": "!variables.kept", "message": WORDS}],
        },
    }


def binding(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


@pytest.fixture
async def enforced(kube: Kube, widgets: Widgets) -> AsyncIterator[str]:
    """A policy that the server has begun to enforce; its name."""
    name = kube.namespace
    try:
        (await kube.send("POST", f"{BASE}/validatingadmissionpolicies", policy(name, name))).ok()
        (await kube.send("POST", f"{BASE}/validatingadmissionpolicybindings", binding(name))).ok()

        async def denies() -> bool:
            probe = widget("probe", notes={"keep": "yes"})
            made = await widgets.create(probe)
            assert made.code in (201, 409), made.body
            return (await widgets.delete("probe")).code == 422

        await until(denies, "the policy is not enforced")
        yield name
    finally:  # else the namespace could not be emptied
        await kube.send("DELETE", f"{BASE}/validatingadmissionpolicybindings/{name}")
        await kube.send("DELETE", f"{BASE}/validatingadmissionpolicies/{name}")


def check_words(answer: Answer, policy_name: str, name: str = "w") -> None:
    status = answer.failed(422, "Invalid")
    told = f"ValidatingAdmissionPolicy '{policy_name}' with binding '{policy_name}' denied request: {WORDS}"
    assert status["message"] == f'widgets.{GROUP} "{name}" is forbidden: {told}'
    assert (status["details"]["name"], status["details"]["kind"]) == (name, "widgets")
    assert [c["message"] for c in status["details"]["causes"]] == [told]


async def test_a_policy_denies_with_its_own_words(widgets: Widgets, enforced: str) -> None:
    (await widgets.create(widget("w", notes={"keep": "yes"}))).ok()
    check_words(await widgets.delete("w"), enforced)
    check_words(await widgets.delete("w", {"dryRun": ["All"]}), enforced)
    (await widgets.patch("w", {"spec": {"notes": {"keep": None}}}, MERGE)).ok()
    (await widgets.delete("w")).ok()


async def test_a_collection_is_denied_too(widgets: Widgets, enforced: str) -> None:
    (await widgets.create(widget("w", metadata={"labels": {"of": "test"}}, notes={"keep": "yes"}))).ok()
    doomed = await widgets.kube.send("DELETE", widgets.collection, query={"labelSelector": "of=test"})
    check_words(doomed, enforced, "Unknown")
    assert (await widgets.get("w")).code == 200


async def test_a_policy_leaves_others_alone(widgets: Widgets, enforced: str) -> None:
    (await widgets.create(widget("w"))).ok()
    (await widgets.patch("w", {"spec": {"size": 2}}, MERGE)).ok()
    (await widgets.delete("w")).ok()


async def test_an_expression_that_does_not_compile_is_refused(kube: Kube) -> None:
    bad = policy(kube.namespace, "none")
    bad["spec"]["validations"][0]["expression"] = "object. =="
    status = (await kube.send("POST", f"{BASE}/validatingadmissionpolicies", bad)).failed(422, "Invalid")
    assert status["details"]["causes"][0]["field"] == "spec.validations[0].expression"
