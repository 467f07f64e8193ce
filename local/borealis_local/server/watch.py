"""Watches: from a resource version on, every change that a selection sees, in order, as lines of JSON.

An object that leaves the selection is a deletion to the watcher, one that enters it an addition.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from borealis_local.errors import ApiError
from borealis_local.machinery.resources import Resource
from borealis_local.server.api import Api, Selection
from borealis_local.server.store import Change

BOOKMARK_S = 30.0
DEFAULT_TIMEOUT_S = 1800.0
Render = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """The query of a watch."""

    selection: Selection
    version: int | None  # resume after it; None or 0: begin with what is there
    bookmarks: bool = False
    initial_events: bool = False  # sendInitialEvents: a marked bookmark ends the present state
    timeout: float = DEFAULT_TIMEOUT_S


def seen(change: Change, chosen: Callable[[Mapping[str, Any]], bool]) -> tuple[str, Mapping[str, Any]] | None:
    """Give what a watcher is told of a change, or None."""
    was = change.old is not None and chosen(change.old)
    now = change.type != "DELETED" and chosen(change.object)
    if now:
        return ("MODIFIED" if was else "ADDED"), change.object
    return ("DELETED", change.object) if was else None


async def events(api: Api, resource: Resource, request: WatchRequest, render: Render) -> AsyncIterator[bytes]:
    """Give the stream of a watch, line by line, until its timeout. ApiError 410 before the first line if too old."""
    chosen = request.selection.predicate(resource)
    queue: asyncio.Queue[Change] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    end = loop.time() + request.timeout

    def follow(change: Change) -> None:
        if change.key.group == resource.store:
            queue.put_nowait(change)

    with api.store.subscribed(follow):
        for line in _present(api, resource, request, render):
            yield line
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, BOOKMARK_S)):
                    change = await queue.get()
            except TimeoutError:
                if request.bookmarks and queue.empty():
                    yield _bookmark(resource, api.store.version)
                continue
            told = seen(change, chosen)
            if told is not None:
                yield _line(told[0], render(told[1]))


def _present(api: Api, resource: Resource, request: WatchRequest, render: Render) -> list[bytes]:
    """Give the lines that bring the watcher to now."""
    if request.version and not request.initial_events:
        chosen = request.selection.predicate(resource)
        changes = [c for c in api.store.since(request.version) if c.key.group == resource.store]
        told = [t for c in changes if (t := seen(c, chosen)) is not None]
        return [_line(type_, render(obj)) for type_, obj in told]
    lines = [_line("ADDED", render(o)) for o in api.list(resource, request.selection)]
    if request.initial_events:
        lines.append(_bookmark(resource, api.store.version, initial=True))
    return lines


def _line(type_: str, obj: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": obj}, separators=(",", ":")).encode() + b"\n"


def _bookmark(resource: Resource, version: int, *, initial: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return _line("BOOKMARK", {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata})


def error_line(error: ApiError) -> bytes:
    """Give the ERROR event that Kubernetes sends in a watch."""
    return _line("ERROR", error.status())
