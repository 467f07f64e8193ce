"""The master user's password: whose Secret it comes from, whether it can be used, and which one is in force.

A user may do anything to a Secret at any time, so a bad one is told in a condition and stops nothing: the last good
password stays in force, in SQL and in the connection Secret.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from borealis_operator.api.names import master_name
from borealis_operator.plan.conditions import Condition, condition
from borealis_operator.plan.facts import Facts, Manifest

SHORTEST: Final = 8
LONGEST: Final = 128
KEY: Final = "password"
FIELD: Final = "spec.masterUserSecret.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Why a Secret's password cannot be used: a reason for programs, words for people, and the remedy."""

    reason: str
    problem: str
    remedy: str


def read_password(secret: Manifest) -> str | Flaw:
    """Give the password that a Secret holds, or what is wrong with it."""
    value = (secret.get("data") or {}).get(KEY)
    if value is None:
        return Flaw(reason="KeyMissing", problem=f"has no key {KEY!r}", remedy=f"put the password under {KEY!r}")
    try:
        password = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        return Flaw(reason="PasswordNotText", problem="holds a password that is not UTF-8 text", remedy="use text")
    return find_flaw(password) or password


def find_flaw(password: str) -> Flaw | None:
    """Say what is wrong with a password, never quoting it."""
    if any(character in password for character in "\0\r\n"):
        problem = "holds a password with a line break or a NUL in it"
        return Flaw(reason="PasswordUnfit", problem=problem, remedy="write it without one: printf, not echo")
    if len(password) < SHORTEST:
        problem = f"holds a password of {len(password)} characters"
        return Flaw(reason="PasswordTooShort", problem=problem, remedy=f"use {SHORTEST} at least")
    if len(password) > LONGEST:
        problem = f"holds a password of {len(password)} characters"
        return Flaw(reason="PasswordTooLong", problem=problem, remedy=f"use {LONGEST} at most")
    return None


def master_password(facts: Facts) -> str:
    """Give the password in force: of the user's Secret if one is named and good, else of the connection Secret.

    Empty while there is none yet; what the connection Secret holds already was good when it was put there.
    """
    live = facts.live("Secret", master_name(facts.cluster.name))
    known = read_password(live) if live else ""
    if not facts.cluster.spec.master_secret:
        return "" if isinstance(known, Flaw) else known
    theirs = read_password(facts.user_secret) if facts.user_secret else None
    if isinstance(theirs, str):
        return theirs
    return _last_good(live) if live else ""


def password_condition(facts: Facts) -> Condition:
    """Say whether the Secret that the password comes from can be used, and if not, what to do about it."""
    named, own = facts.cluster.spec.master_secret, master_name(facts.cluster.name)
    source = facts.user_secret if named else facts.live("Secret", own)
    if source is None and not named:
        return condition("MasterUserSecretReady", False, "Making", f"Secret {own!r} is being made")
    if source is None:
        remedy = f"create it in the namespace of the DBCluster, with the password under the key {KEY!r}"
        return _bad(facts, "SecretMissing", f"{FIELD}: there is no Secret {named!r}; {remedy}")
    found = read_password(source)
    writer = facts.writer.instance_status if facts.writer else None
    if isinstance(found, str) and writer and writer.access:
        return condition("MasterUserSecretReady", False, "NoAccess", f"Secret {own!r} does not let in: {writer.access}")
    if isinstance(found, str):
        message = f"Secret {own!r} has what is needed to connect"
        return condition("MasterUserSecretReady", True, "Ready", message)
    where = f"{FIELD}: Secret {named!r}" if named else f"Secret {own!r}"
    remedy = found.remedy if named else f"{found.remedy}, or delete the Secret to have a new password made"
    return _bad(facts, found.reason, f"{where} {found.problem}; {remedy}")


def _bad(facts: Facts, reason: str, message: str) -> Condition:
    there = facts.live("Secret", master_name(facts.cluster.name)) is not None
    until = "the last good password stays in force" if there else "the master user is made once it can be used"
    return condition("MasterUserSecretReady", False, reason, f"{message}; {until}")


def _last_good(live: Manifest) -> str:
    """Give what was in force before, also if rules have become stricter since."""
    try:
        kept = base64.b64decode((live.get("data") or {}).get(KEY, "")).decode()
    except ValueError:
        return ""
    return "" if "\0" in kept else kept
