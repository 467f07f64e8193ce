"""`spec.allowedClients`: who may connect to PostgreSQL, as the peers of a NetworkPolicy.

Peers are kept in the form in which an API server gives them back, without what is empty, so that a pass finds its own
NetworkPolicy unchanged.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Final

from borealis_operator.api.errors import ConfigInvalid
from borealis_operator.api.fields import Raw

FIELD: Final = "spec.allowedClients"
MOST: Final = 50
SELECTORS: Final = ("podSelector", "namespaceSelector")
OPERATORS: Final = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}  # whether they want values
KEY: Final = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
VALUE: Final = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"

Peer = Mapping[str, Any]


def parse_clients(spec: Raw) -> tuple[Peer, ...] | None:
    """Give the peers that may connect; None for everybody. ConfigInvalid says which one is wrong, and how."""
    given = spec.get("allowedClients")
    if given is None:
        return None
    if not isinstance(given, list) or not 1 <= len(given) <= MOST:
        remedy = "leave it out to admit everybody"
        raise ConfigInvalid(FIELD, f"is not a list of 1 to {MOST} peers of a NetworkPolicy", remedy)
    return tuple(_peer(raw, f"peer {number}") for number, raw in enumerate(given, 1))


def _peer(raw: Any, where: str) -> Peer:
    remedy = "give podSelector, namespaceSelector or both, or ipBlock alone"
    if not isinstance(raw, Mapping) or not raw or not set(raw) <= {*SELECTORS, "ipBlock"}:
        raise ConfigInvalid(FIELD, f"{where} is not a peer of a NetworkPolicy", remedy)
    if "ipBlock" not in raw:
        return {key: _selector(raw[key], f"{key} of {where}") for key in SELECTORS if key in raw}
    if len(raw) > 1:
        raise ConfigInvalid(FIELD, f"{where} has selectors beside ipBlock", remedy)
    return {"ipBlock": _block(raw["ipBlock"], where)}


def _block(raw: Any, where: str) -> Peer:
    remedy = "give addresses such as cidr: 10.0.0.0/8, and in except parts of them"
    try:
        cidr, less = str(raw["cidr"]), [str(each) for each in raw.get("except") or ()]
        whole = ip_network(cidr)
        inside = all(
            part.version == whole.version and whole.supernet_of(part) and part != whole  # type: ignore[arg-type]
            for part in map(ip_network, less)
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigInvalid(FIELD, f"ipBlock of {where} is wrong: {error}", remedy) from error
    if not inside or "/" not in cidr or not set(raw) <= {"cidr", "except"}:
        raise ConfigInvalid(FIELD, f"ipBlock of {where} is wrong", remedy)
    return {"cidr": cidr, "except": less} if less else {"cidr": cidr}


def _selector(raw: Any, where: str) -> Peer:
    remedy = "give matchLabels or matchExpressions, as in selectors of Kubernetes"
    if not isinstance(raw, Mapping) or not set(raw) <= {"matchLabels", "matchExpressions"}:
        raise ConfigInvalid(FIELD, f"{where} is no selector", remedy)
    labels, expressions = raw.get("matchLabels") or {}, raw.get("matchExpressions") or []
    if not isinstance(labels, Mapping) or not all(_is(KEY, k) and _is(VALUE, v) for k, v in labels.items()):
        raise ConfigInvalid(FIELD, f"matchLabels in {where} are no labels", "give names and values of labels as text")
    if not isinstance(expressions, list) or not all(map(_is_expression, expressions)):
        told = f"use the operators {', '.join(OPERATORS)}, and values for In and NotIn alone"
        raise ConfigInvalid(FIELD, f"matchExpressions in {where} are wrong", told)
    kept = [{k: v for k, v in each.items() if v} for each in expressions]
    return {**({"matchLabels": dict(labels)} if labels else {}), **({"matchExpressions": kept} if kept else {})}


def _is_expression(raw: Any) -> bool:
    if not isinstance(raw, Mapping) or not set(raw) <= {"key", "operator", "values"} or not _is(KEY, raw.get("key")):
        return False
    values, wants = raw.get("values") or [], OPERATORS.get(str(raw.get("operator")))
    return isinstance(values, list) and wants is bool(values) and all(_is(VALUE, value) for value in values)


def _is(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None
