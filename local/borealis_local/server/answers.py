"""Between HTTP and the verbs: queries and bodies in, JSON, tables and warnings out."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import yaml
from aiohttp import web

from borealis_local.errors import Cause, bad_request, invalid
from borealis_local.machinery import events, patches, protobuf
from borealis_local.machinery.resources import Resource
from borealis_local.machinery.tables import table
from borealis_local.server import writes
from borealis_local.server.api import Selection
from borealis_local.server.paths import Target
from borealis_local.server.removal import DeleteOptions
from borealis_local.server.watch import DEFAULT_TIMEOUT_S, WatchRequest
from borealis_local.server.writes import Object, Options

_NEEDED = "Required value: is required for apply patch"

# --- in ------------------------------------------------------------------------------------------------------------


async def body(request: web.Request) -> Object:
    """Give the object in a request's body; ApiError 400 if there is none."""
    parsed = _parse(await request.read(), request.content_type)
    if not isinstance(parsed, (dict, list)):
        raise bad_request("the body is no object")
    return parsed  # type: ignore[return-value]  # a list is a JSON patch of a scale


def _parse(raw: bytes, kind: str) -> Any:
    """Give what a body says; ApiError 415 for protobuf of a kind that has no such form here."""
    try:
        if kind != protobuf.MEDIA_TYPE:
            return yaml.safe_load(raw) if "yaml" in kind else json.loads(raw)
        decoded = protobuf.decode(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"error decoding the body: {error}") from error
    if decoded is None:
        raise writes.unsupported_media(kind, "application/json, application/yaml")
    return decoded


def options(request: web.Request, subresource: str) -> Options:
    """Read who writes, and how, from the query; without fieldManager the user agent's name is taken."""
    query = request.query
    agent = request.headers.get("User-Agent", "").partition("/")[0] or "unknown"
    manager = query.get("fieldManager", "")
    if not manager and request.content_type == writes.APPLY:
        cause = Cause(
            reason="FieldValueRequired", message="Required value: is required for apply patch", field="fieldManager"
        )
        raise invalid("meta.k8s.io", "PatchOptions", "", [cause])
    return Options(
        manager=manager or agent,
        force=query.get("force") in ("true", "1"),
        dry_run="dryRun" in query,
        strict=query.get("fieldValidation") == "Strict",
        subresource=subresource,
    )


async def delete_options(request: web.Request) -> DeleteOptions:
    """Read DeleteOptions from the body, else from the query."""
    raw: dict[str, Any] = dict(request.query)
    if request.can_read_body and (text := await request.read()):
        asked = _parse(text, request.content_type)
        raw |= asked if isinstance(asked, dict) else {}
    return DeleteOptions.parse(raw)


def selection(request: web.Request, found: Target) -> Selection:
    """Read the selectors."""
    query = request.query
    fields = query.get("fieldSelector", "")
    return Selection(namespace=found.namespace, labels=query.get("labelSelector", ""), fields=fields)


def watch_request(request: web.Request, found: Target) -> WatchRequest:
    """Read the query of a watch; ApiError 400 on nonsense."""
    query = request.query
    version = query.get("resourceVersion", "")
    if version and not version.isdigit():
        raise bad_request(f'invalid resource version: "{version}"')
    return WatchRequest(
        selection=selection(request, found),
        version=int(version) if version else None,
        bookmarks=query.get("allowWatchBookmarks") in ("true", "1"),
        initial_events=query.get("sendInitialEvents") in ("true", "1"),
        timeout=float(query.get("timeoutSeconds") or DEFAULT_TIMEOUT_S),
    )


def require_version(resource: Resource, obj: Object) -> None:
    """ApiError 422 if an update does not say which version it is of; kinds without unconditional update ask for it."""
    metadata = obj.get("metadata") or {}
    if not metadata.get("resourceVersion"):
        text = 'Invalid value: "": must be specified for an update'
        cause = Cause(reason="FieldValueInvalid", message=text, field="metadata.resourceVersion")
        raise invalid(resource.group, resource.kind, metadata.get("name", ""), [cause])


def scale_patch(scale: Object, patch: Any, kind: str) -> Object:
    """Give a Scale with a patch applied."""
    if kind == writes.JSON_PATCH:
        return patches.json_patch(scale, patch)  # type: ignore[no-any-return]
    return patches.merge_patch(scale, patch)  # type: ignore[no-any-return]


# --- out -----------------------------------------------------------------------------------------------------------


def plain(document: Mapping[str, Any], *, status: int = 200) -> web.Response:
    """Give JSON."""
    text = json.dumps(document, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")


def form(request: web.Request) -> str:
    """Give the representation that the client wants most: empty for the object itself."""
    for offer in request.headers.get("Accept", "").split(","):
        kind, *parameters = (p.strip() for p in offer.split(";"))
        if kind in ("application/json", "*/*", "application/*"):
            pairs = dict(p.partition("=")[::2] for p in parameters)
            if pairs.get("v", "v1") == "v1":
                return pairs.get("as", "")
    return ""


def partial(obj: Object) -> Object:
    """Give an object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def rendering(
    request: web.Request, resource: Resource, version: int
) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Give how objects of a kind look to this client."""
    wanted = form(request)
    include = request.query.get("includeObject", "Metadata")

    def render(stored: Mapping[str, Any]) -> Mapping[str, Any]:
        obj = events.from_core(resource, stored)
        if wanted == "Table":
            return table(resource, [obj], version=str(version), now=datetime.now(UTC), include=include)
        return partial(obj) if wanted.startswith("PartialObjectMetadata") else obj

    return render


def one(
    request: web.Request, resource: Resource, obj: Object, *, status: int = 200, warnings: list[str] | None = None
) -> web.Response:
    """Answer with an object."""
    version = int(obj["metadata"].get("resourceVersion", 0))
    response = plain(rendering(request, resource, version)(obj), status=status)
    for warning in warnings or ():
        response.headers.add("Warning", f"299 - {json.dumps(warning)}")
    return response


def many(request: web.Request, resource: Resource, items: list[Object], *, version: int) -> web.Response:
    """Answer with a list."""
    wanted = form(request)
    items = [events.from_core(resource, o) for o in items]
    if wanted == "Table":
        include = request.query.get("includeObject", "Metadata")
        return plain(table(resource, items, version=str(version), now=datetime.now(UTC), include=include))
    kind, api_version = f"{resource.kind}List", resource.api_version
    if wanted.startswith("PartialObjectMetadata"):
        items = [partial(o) for o in items]
        kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
    elif not resource.custom:  # as Kubernetes does: items of typed lists say neither kind nor apiVersion
        items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in items]
    listing = {"kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": str(version)}, "items": items}
    return plain(listing)
