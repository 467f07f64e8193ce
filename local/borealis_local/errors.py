"""Errors of local mode, one tree, by blame.

LocalError
├── ApiError        the API request is wrong or in conflict; carries the Status that Kubernetes would answer
├── CommandError    the user's command cannot be done; the message says what to do instead
└── PodError        a pod's own description cannot be run as a process
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class LocalError(Exception):
    """Base of all that local mode raises."""


class CommandError(LocalError):
    """The command cannot be done; the text is for the user."""


class PodError(LocalError):
    """A container cannot be started as described; `reason` is the one that Kubernetes shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One entry of `Status.details.causes`."""

    reason: str
    message: str
    field: str


class ApiError(LocalError):
    """A failed API request; `status()` is the body of the answer."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    @property
    def is_denial(self) -> bool:
        """Whether an admission policy, not the request's form or time, is what is in the way."""
        return self.code in (401, 403, 413, 422)

    def status(self) -> dict[str, Any]:
        """Give the Status object, as Kubernetes words it."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            body["details"] = self.details
        return {**body, "code": self.code}


def _about(group: str, plural: str, name: str, **more: Any) -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": plural, **more}
    return {k: v for k, v in details.items() if v not in ("", None)}


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404 for an object."""
    text = f'{_qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", text, _about(group, plural, name))


def no_such_path() -> ApiError:
    """404 for a path that is no API."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """409 on create."""
    text = f'{_qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", text, _about(group, plural, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, plural: str, name: str, why: str = MODIFIED) -> ApiError:
    """409 on an optimistic lock or a precondition."""
    text = f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", text, _about(group, plural, name))


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with one cause per field."""
    texts = [f"{c.field}: {c.message}" for c in causes]
    told = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    listed = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    text = f'{kind}{"." + group if group else ""} "{name}" is invalid: {told}'
    return ApiError(422, "Invalid", text, _about(group, kind, name, causes=listed))


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    """403."""
    text = f'{_qualified(group, plural)} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", text, _about(group, plural, name))


def denied(group: str, plural: str, name: str, *, code: int, reason: str, why: str) -> ApiError:
    """What an admission policy denies, with reason and code of its choice; one of a collection is not named."""
    name = name or "Unknown"
    text = f'{_qualified(group, plural)} "{name}" is forbidden: {why}'
    return ApiError(code, reason, text, _about(group, plural, name, causes=[{"message": why}]))


def gone(asked: int, oldest: int) -> ApiError:
    """410: the watch cannot resume there."""
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def method_not_allowed() -> ApiError:
    """405."""
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text, {})
