"""The chart gives the operator the rights that its table of kinds names, and no others."""

import re
from typing import Any

import yaml
from borealis_operator.kube.kinds import KINDS

from tests.repository import ROOT

Rights = set[tuple[str, str, str]]  # (group, resource, verb)

# What an admission plugin asks of those who name owners whose deletion waits.
OWNERS = {("borealis.dev", "dbclusters/finalizers", "update")}


def granted() -> dict[str, Rights]:
    """Give the rights of each set of rules in the chart's template, by the set's name."""
    text = (ROOT / "helm/borealis/templates/_rules.tpl").read_text()
    sets = re.findall(r'define "borealis\.rules\.(\w+)" -\}\}\n(.*?)\{\{- end \}\}', text, re.DOTALL)
    return {name: _rights(yaml.safe_load(rules)) for name, rules in sets}


def needed(*, namespaced: bool) -> Rights:
    """Give the rights that the operator's table of kinds names."""
    kinds = [kind for kind in KINDS.values() if kind.namespaced is namespaced]
    rights = {(kind.group, kind.plural, verb) for kind in kinds for verb in kind.verbs}
    return rights | {(kind.group, f"{kind.plural}/status", verb) for kind in kinds for verb in kind.status_verbs}


def test_the_operator_may_do_what_it_does_and_nothing_else() -> None:
    rights = granted()
    assert rights["namespaced"] | rights["own"] == needed(namespaced=True) | OWNERS
    assert rights["cluster"] == needed(namespaced=False)


def test_rights_on_the_lease_are_given_in_one_namespace_only() -> None:
    leases = {(group, plural, verb) for group, plural, verb in needed(namespaced=True) if plural == "leases"}
    assert leases
    assert granted()["own"] == leases


def _rights(rules: list[dict[str, Any]]) -> Rights:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
