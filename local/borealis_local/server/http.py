"""The API server's HTTP face: routing, content types, errors as Status objects.

Wrong requests are answered as Kubernetes answers them, so that clients written for it need no other case.
"""

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from aiohttp import web

from borealis_local.errors import ApiError, method_not_allowed, no_such_path
from borealis_local.machinery import discovery, events, openapi
from borealis_local.machinery.resources import Resource
from borealis_local.server import answers, watch
from borealis_local.server.api import Api
from borealis_local.server.paths import Target, target
from borealis_local.server.removal import status_of
from borealis_local.server.store import Key
from borealis_local.server.writes import Object

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LogReader = Callable[[Object, Mapping[str, str]], bytes]


class Server:
    """Handlers over one Api; `application()` gives what aiohttp serves."""

    def __init__(self, api: Api, *, token: str, read_log: LogReader) -> None:
        """Serve `api` to who bears `token`; `read_log` gives the log of a pod's container."""
        self._api, self._token, self._read_log = api, token, read_log

    def application(self) -> web.Application:
        """Build the aiohttp application."""
        app = web.Application(middlewares=[self._guard], client_max_size=16 * 1024 * 1024)
        for path in ("/healthz", "/readyz", "/livez"):
            app.router.add_get(path, self._healthy)
        app.router.add_get("/version", self._version)
        app.router.add_get("/openapi/v3", self._openapi)
        app.router.add_get("/openapi/v3/{prefix:.+}", self._openapi)
        app.router.add_route("*", "/api{tail:.*}", self._any)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._authenticate(request)
            return await handler(request)
        except ApiError as error:
            return answers.plain(error.status(), status=error.code)
        except web.HTTPException as error:
            status = ApiError(error.status, error.reason.replace(" ", ""), error.text or error.reason, {})
            return answers.plain(status.status(), status=error.status)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            told = ApiError(500, "InternalError", f"Internal error occurred: {error!r}", {})
            return answers.plain(told.status(), status=500)

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise ApiError(401, "Unauthorized", "Unauthorized")

    # --- what is not an object -------------------------------------------------------------------------------------

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _version(self, _: web.Request) -> web.Response:
        return answers.plain(discovery.VERSION)

    async def _openapi(self, request: web.Request) -> web.Response:
        prefix = request.match_info.get("prefix")
        if prefix is None:
            return answers.plain(openapi.index(self._api.registry))
        return answers.plain(_found(openapi.document(self._api.registry, prefix)))

    def _discover(self, path: str) -> Object | None:
        match path.strip("/").split("/"):
            case ["api"]:
                return discovery.core_versions()
            case ["apis"]:
                return discovery.group_list(self._api.registry)
            case ["api", version]:
                return _found(discovery.resource_list(self._api.registry, "", version))
            case ["apis", group]:
                groups = discovery.group_list(self._api.registry)["groups"]
                listed = _found(next((g for g in groups if g["name"] == group), None))
                return {"kind": "APIGroup", "apiVersion": "v1", **listed}
            case ["apis", group, version]:
                return _found(discovery.resource_list(self._api.registry, group, version))
        return None

    # --- objects ---------------------------------------------------------------------------------------------------

    async def _any(self, request: web.Request) -> web.StreamResponse:
        document = self._discover(request.path)
        if document is not None:
            return answers.plain(document)
        found = target(request.path, self._api.registry)
        if not found.name:
            return await self._collection(request, found)
        if request.method == "GET":
            return self._get(request, found)
        verbs = {"PUT": self._update, "PATCH": self._patch, "DELETE": self._delete}
        if found.subresource == "scale":
            verbs = {"PUT": self._scale, "PATCH": self._scale}
        verb = verbs.get(request.method)
        if verb is None or (found.subresource and request.method == "DELETE"):
            raise method_not_allowed()
        return await verb(request, found)

    def _get(self, request: web.Request, found: Target) -> web.Response:
        obj = self._read(found)
        if found.subresource == "log":
            return web.Response(body=self._read_log(obj, request.query), content_type="text/plain")
        if found.subresource == "scale":
            return answers.plain(self._api.scale(found.resource, obj))
        return answers.one(request, found.resource, obj)

    async def _collection(self, request: web.Request, found: Target) -> web.StreamResponse:
        match request.method:
            case "GET" if request.query.get("watch") in ("true", "1"):
                return await self._watch(request, found)
            case "GET":
                return self._list(request, found)
            case "POST":
                return await self._create(request, found)
            case "DELETE":
                return await self._delete_all(request, found)
        raise method_not_allowed()

    def _read(self, found: Target) -> Object:
        return self._api.writes.read(found.resource, found.namespace, found.name)

    async def _create(self, request: web.Request, found: Target) -> web.Response:
        if found.resource.namespaced and not found.namespace:
            raise method_not_allowed()
        options = answers.options(request, "")
        obj = events.to_core(found.resource, await answers.body(request))
        made = self._api.writes.create(found.resource, found.namespace, obj, options)
        return answers.one(request, found.resource, made, status=201, warnings=options.warnings)

    async def _update(self, request: web.Request, found: Target) -> web.Response:
        options = answers.options(request, found.subresource if found.subresource != "finalize" else "")
        obj = events.to_core(found.resource, await answers.body(request))
        if found.resource.custom or found.resource.kind in ("CustomResourceDefinition", "Lease"):
            answers.require_version(found.resource, obj)
        new = self._api.writes.update(found.resource, found.namespace, found.name, obj, options)
        return answers.one(request, found.resource, new, warnings=options.warnings)

    async def _patch(self, request: web.Request, found: Target) -> web.Response:
        options = answers.options(request, found.subresource)
        version = self._api.store.version
        known = self._api.store.get(Key(found.resource.store, found.namespace, found.name)) is not None
        new = self._api.writes.patch(
            found.resource, found.namespace, found.name, request.content_type, await request.read(), options
        )
        status = 201 if not known and self._api.store.version > version else 200
        return answers.one(request, found.resource, new, status=status, warnings=options.warnings)

    async def _delete(self, request: web.Request, found: Target) -> web.Response:
        options = await answers.delete_options(request)
        obj, gone = self._api.delete(found.resource, found.namespace, found.name, options)
        if gone and found.resource.kind != "Pod":
            return answers.plain(status_of(found.resource, obj))
        return answers.one(request, found.resource, obj)

    async def _delete_all(self, request: web.Request, found: Target) -> web.Response:
        options = replace(await answers.delete_options(request), collection=True)
        doomed = self._api.list(found.resource, answers.selection(request, found))
        for obj in doomed:
            metadata = obj["metadata"]
            self._api.delete(found.resource, metadata.get("namespace", ""), metadata["name"], options)
        return self._many(request, found.resource, doomed)

    async def _scale(self, request: web.Request, found: Target) -> web.Response:
        obj = self._read(found)
        body = await answers.body(request)
        if request.method == "PATCH":
            body = answers.scale_patch(self._api.scale(found.resource, obj), body, request.content_type)
        return answers.plain(self._api.rescale(found.resource, obj, body, answers.options(request, "scale")))

    def _list(self, request: web.Request, found: Target) -> web.Response:
        return self._many(request, found.resource, self._api.list(found.resource, answers.selection(request, found)))

    def _many(self, request: web.Request, resource: Resource, items: list[Object]) -> web.Response:
        return answers.many(request, resource, items, version=self._api.store.version)

    async def _watch(self, request: web.Request, found: Target) -> web.StreamResponse:
        asked = answers.watch_request(request, found)
        asked.selection.predicate(found.resource)  # a bad selector is refused before the stream begins
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        render = answers.rendering(request, found.resource, self._api.store.version)
        try:
            async for line in watch.events(self._api, found.resource, asked, render):
                await response.write(line)
        except ApiError as error:
            await response.write(watch.error_line(error))
        except ConnectionResetError:  # the watcher went away
            return response
        return response


def _found(document: Object | None) -> Object:
    if document is None:
        raise no_such_path()
    return document
