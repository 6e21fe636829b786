"""The application: from an HTTP request to one operation, and its answer.

Besides the API, these stand in for what a rack controller and the metadata service offer to machines:

    GET  /MAAS/boot/MAC                              what to boot (boot.py)
    GET  /MAAS/images/SHA256                         an uploaded image
    GET  /MAAS/metadata/VERSION/...                  cloud-init's DataSourceMAAS (metadata.py)
    POST /MAAS/metadata/VERSION/?op=signal|netboot_off
    POST /MAAS/metadata/status/SYSTEM_ID             cloud-init's and curtin's reporting webhook
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.maas_simulator import boot_resources, metadata, networks, racks, scripts
from lab.maas_simulator.answer import TEXT, Answer
from lab.maas_simulator.boot import boot
from lab.maas_simulator.describe import describe
from lab.maas_simulator.errors import RefusedError, bad_request, not_simulated
from lab.maas_simulator.forms import Fields, parse_body
from lab.maas_simulator.oauth import Credentials, read_header, unauthorized
from lab.maas_simulator.operations import RESOURCES, Operation, Resource
from lab.maas_simulator.region import API, Call, Region
from lab.maas_simulator.settings import Settings
from lab.maas_simulator.store import Store
from lab.maas_simulator.worker import Worker

_LOG = logging.getLogger("maas_simulator")
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


def create_app(settings: Settings) -> Starlette:
    """A region with this store; everything it still had to do goes on."""
    region = Region(settings, Store(settings.data))
    with region.store.transaction():
        racks.prepare(region)
        networks.prepare(region)
        scripts.prepare(region)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        working = asyncio.create_task(Worker(region).run())
        working.add_done_callback(_stop_if_failed)
        yield
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        region.store.close()

    def guarded(handler: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                answer = await handler(request)
            except RefusedError as refused:
                answer = refused.answer
            return answer.response()

        return endpoint

    def route(path: str, handler: Callable[[Region, Request], Awaitable[Answer]], *methods: str) -> Route:
        return Route(path, guarded(lambda request: handler(region, request)), methods=list(methods))

    routes = [
        route(f"{API}describe/", _describe, "GET"),
        route(API + "{path:path}", _api, *_METHODS),
        route("/MAAS/boot/{mac}", _boot, "GET"),
        route("/MAAS/images/{sha256}", _image, "GET"),
        route("/MAAS/metadata/status/{system_id}", _status_event, "POST"),
        route("/MAAS/metadata/{version}/{path:path}", _metadata, "GET", "POST"),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


def _stop_if_failed(worker: asyncio.Task[None]) -> None:
    """A region whose machines no longer move must not look alive."""
    if not worker.cancelled() and worker.exception():
        _LOG.critical("the worker failed", exc_info=worker.exception())
        signal.raise_signal(signal.SIGTERM)


def _credentials(request: Request) -> Credentials | None:
    return read_header(request.headers.get("authorization"))


def _query(request: Request) -> Fields:
    return Fields(request.query_params.multi_items())


async def _describe(_: Region, request: Request) -> Answer:
    return Answer.json(describe(f"{request.url.scheme}://{request.url.netloc}"))


async def _api(region: Region, request: Request) -> Answer:
    resource, params = _find_resource(request)
    method = request.method
    if method not in {operation.method for operation in resource.operations}:
        allowed = sorted({operation.method for operation in resource.operations})
        return Answer(405, "", TEXT, {"Allow": ", ".join(allowed)})
    user = _authenticate(region, request)
    if user is None and not any(operation.anonymous for operation in resource.operations):
        raise unauthorized()
    query = _query(request)
    data = Fields()
    if method in ("POST", "PUT") and resource.name != "BootResourceFileUpload":
        content_type = request.headers.get("content-type", "")
        data = parse_body(content_type, await request.body(), region.release)
    op = query.get("op") or data.get("op") or None
    operation = resource.find(method, op)
    if operation is None or (user is None and not operation.anonymous):
        raise bad_request(f"Unrecognised signature: method={method} op={op}")
    if operation.function is None:
        raise not_simulated(f"{resource.name}.{operation.name} ({method} {resource.path} op={op})")
    return await _run(operation, Call(region, params, query, data, user, request))


def _find_resource(request: Request) -> tuple[Resource, dict[str, str]]:
    path = request.path_params["path"]
    for resource in RESOURCES:
        match = resource.pattern.fullmatch(path)
        if match:
            return resource, match.groupdict()
    raise RefusedError(Answer(404, f"Unknown API endpoint: {API}{path}.", TEXT))


def _authenticate(region: Region, request: Request) -> str | None:
    """The user who signed; None for nobody; 401 for a key that is not known."""
    credentials = _credentials(request)
    if credentials is None:
        return None
    key = region.settings.api_key
    if not credentials.prove(key.consumer, key.token, key.secret):
        raise unauthorized()
    return region.settings.username


async def _run(operation: Operation, call: Call) -> Answer:
    assert operation.function is not None
    if inspect.iscoroutinefunction(operation.function):
        answer: Answer = await operation.function(call)
        return answer
    if operation.reads:
        result = operation.function(call)
        assert isinstance(result, Answer)
        return result
    # The transaction is committed, and on the disk, before the answer leaves.
    with call.store.transaction():
        result = operation.function(call)
        assert isinstance(result, Answer)
    return result


async def _boot(region: Region, request: Request) -> Answer:
    with region.store.transaction():
        return boot(region, request.path_params["mac"])


async def _image(region: Region, request: Request) -> Answer:
    return boot_resources.serve_image(region, request.path_params["sha256"])


async def _metadata(region: Region, request: Request) -> Answer:
    version, path = request.path_params["version"], request.path_params["path"]
    data = Fields()
    if request.method == "POST":
        data = parse_body(request.headers.get("content-type", ""), await request.body(), (0, 0))
    with region.store.transaction():
        machine = metadata.require_machine(region, _credentials(request))
        if request.method == "GET":
            return metadata.read(region, machine, version, path)
        op = _query(request).get("op") or data.get("op")
        return metadata.operate(region, machine, version, op, data)


async def _status_event(region: Region, request: Request) -> Answer:
    """As MAAS: without credentials 401; a token it does not know (any more) is thanked and ignored. The
    machine is the token's, whatever the path says."""
    credentials = _credentials(request)
    if credentials is None:
        raise unauthorized()
    message = metadata.read_status_event(await request.body())
    with region.store.transaction():
        machine = metadata.machine_of_token(region, credentials)
        if machine is not None:
            metadata.report_status(region, machine, message)
    return Answer(204, "", TEXT)
