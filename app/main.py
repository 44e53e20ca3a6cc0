"""Builds the application from settings and runs it. Nothing happens at import."""

import asyncio
import atexit
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import Scope
from starlette_compress import CompressMiddleware
from threadpoolctl import threadpool_limits

from app import health, image_routes
from app.api import compare as api_compare
from app.api import feature as api_feature
from app.api import heatmap as api_heat
from app.api import image as api_image
from app.api import image_layers as api_image_layers
from app.api import image_similarity as api_image_similarity
from app.api import index as api_index
from app.api import points as api_points
from app.api import search as api_search
from app.api import uploads as api_uploads
from app.engine.budget import TimeBudget
from app.engine.fair_share import FairLimiter, FairTurns
from app.engine.preview_cache import Previews
from app.engine.text_encoders import TextEncoderFactory, TextEncoders, scopeview_text_encoders
from app.engine.worker import MAX_WAITING_PER_CLIENT, POOL_SIZE, EncoderFactory, Worker, scopeview_encoders
from app.moderation.blocklist import BlockList
from app.moderation.reports import Reports
from app.pages import (
    api_help,
    compare,
    feature,
    gallery,
    glossary,
    home,
    random_feature,
    report,
    search,
    social_card,
    uploads,
)
from app.pages import map as feature_map
from app.pages.error import problem_page
from app.pages.image import activations as image_activations
from app.pages.image import compare as image_compare
from app.pages.image import groups as image_groups
from app.pages.image import layers as image_layers
from app.pages.image import overview as image_overview
from app.pages.image import similar as image_similar
from app.pages.image import steering as image_steering
from app.pages.render import environment, load_templates, render
from app.pages.styleguide import routes as styleguide
from app.settings import Settings, read_settings
from app.state import AppState, OpenIndex, close_indexes, open_indexes
from app.uploads.decoding import N_PROCESSES, Decoder, ProcessDecoder
from app.uploads.rate_limit import UploadPlaces, UploadRate
from app.uploads.store import UploadStore
from app.urls import API
from app.web.caching import VERSION
from app.web.client_address import CurrentClient
from app.web.errors import ProblemBody, ProblemError, answer_for
from app.web.http_protocol import BoundedHttpProtocol
from app.web.metrics import Metrics, MetricsMiddleware
from app.web.page_cache import PageCache, PageCacheMiddleware
from app.web.path_prefix import CanonicalPath, PathPrefix, route_path
from app.web.request_log import HEADER, REQUEST_ID, AccessLog, log_config
from app.web.security import HEADERS, ApiCors, HeadLikeGet, SecurityHeaders, allowed_methods
from app.web.server_socket import Server, bound_socket
from scopeview.errors import DamagedError, InputError, ScopeviewError
from scopeview.malloc import release_large_blocks

log = logging.getLogger("scopeview.main")

SWEEP_EVERY_S = 600.0
CLOSING_S = 3
"""The part of the shutdown time for what comes after the requests: models, databases, processes."""
N_TURNS, MAX_WAITING_TURNS = 16, 512
"""Requests worked on at one time, except those that wait for the model; and waiting ones of one client."""
N_MODEL_REQUESTS = 32
"""Views that run the model at one time: 768 images in its queue at most."""
SWITCH_S = 0.001
"""A thread lets another run after this long: Python's 5 ms at each of its steps would slow every page."""
UPLOADS_PER_QUEUE_PLACE = 2
"""Images that may be arriving or waiting per image being worked on; all together are what is in memory."""
DESCRIPTION = "The contents of the pages of a Scopeview server as JSON. For bulk data, use the index files."

# In a path the first match wins: words (`uploads`, `images`, ...) come before `{layer}` and `{feature}`.
ROUTERS = (
    health.router,
    api_help.router,
    glossary.router,
    styleguide.router,
    api_uploads.router,
    api_image.router,
    api_image_layers.router,
    api_image_similarity.router,
    api_search.router,
    api_compare.router,
    api_index.router,
    api_points.router,
    api_feature.router,
    api_heat.router,
    image_routes.router,
    image_activations.router,
    image_groups.router,
    image_layers.router,
    image_steering.router,
    image_similar.router,
    image_compare.router,
    uploads.router,
    report.router,
    image_overview.router,
    random_feature.router,
    search.router,
    compare.router,
    social_card.router,
    home.router,
    gallery.router,
    feature_map.router,
    feature.router,
)


@dataclass(frozen=True)
class ModelStandIns:
    """Replacements for models in tests; None means the real ones."""

    encoders: EncoderFactory | None = None
    texts: TextEncoderFactory | None = None
    decoder: Decoder | None = None


def create_app(
    settings: Settings,
    *,
    encoder_factory: EncoderFactory | None = None,
    text_factory: TextEncoderFactory | None = None,
    decoder: Decoder | None = None,
) -> FastAPI:
    """Creates the app; indexes open when it starts.

    In tests, the factories replace the models, and the decoder replaces the decoding processes.
    """
    environment()  # now, so that a fault in it ends the start and no request waits for it
    metrics = Metrics()
    models = ModelStandIns(encoder_factory, text_factory, decoder)
    app = FastAPI(
        title="Scopeview",
        description=DESCRIPTION,
        version="1",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from another host
        redoc_url=None,
        lifespan=_lifespan(settings, models, metrics),
        redirect_slashes=False,
    )
    app.state.closing_s = None  # nothing here ends a process that is not its own
    for router in ROUTERS:
        # Not `include_router`, which wraps them for prefixes they do not have: 0.3 ms of every request, and
        # 0.2 s of the first, which would wait for all routes to be worked out.
        app.router.routes.extend(router.routes)
    for kind in (ProblemError, ScopeviewError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_error)
    _add_middleware(app, settings, metrics)
    return app


def serve(
    index_dirs: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    upload_dir: Path | None = None,
    device: str = "auto",
) -> None:
    """Runs until it is stopped; `SCOPEVIEW_...` variables set everything else (see `settings`).

    Raises `InputError` when an index cannot be served and `ScopeviewError` for a port in use, before it
    listens. On the open web, put a reverse proxy with time-outs before it. uvicorn takes visitors' addresses
    from a proxy on this machine, or from those that `FORWARDED_ALLOW_IPS` in the environment names.
    """
    given = {"index_dirs": list(index_dirs), "host": host, "port": port, "encoder_device": device}
    threadpool_limits(1, user_api="blas")  # requests run beside each other, and their sums are small
    release_large_blocks()
    settings = read_settings(given | ({"upload_dir": upload_dir} if upload_dir else {}))
    with bound_socket(settings.host, settings.port) as listener:
        close_indexes(_open_indexes(settings, BlockList(settings.blocklist)))
        _run_server(create_app(settings), settings, listener)


def _run_server(app: FastAPI, settings: Settings, listener: socket.socket) -> None:
    # Pages leave few cycles behind; to look for them through all that stays for good takes 0.1 s.
    gc.set_threshold(20_000, 50, 50)
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    app.state.closing_s = CLOSING_S
    server = Server(_server_config(app, settings))
    try:
        with suppress(KeyboardInterrupt):
            server.run([listener])
    finally:
        gc.unfreeze()  # what is frozen when Python ends is never freed, and DuckDB lists it, object by object
    if not server.started:
        raise ScopeviewError("the server did not start; the log above says why")


def _server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        server_header=False,
        http=BoundedHttpProtocol,
        timeout_graceful_shutdown=settings.shutdown_s - CLOSING_S,
        access_log=False,
        log_config=log_config(settings.log_format),
    )


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Adds all middleware; the last one added is the outermost."""
    # Zstandard for browsers, which ask for it: less of a page than gzip, in a third of the time. Its
    # level 4 takes blocks that `release_large_blocks` gives back after every page: 0.6 ms instead of 0.1.
    app.add_middleware(CompressMiddleware, minimum_size=1024, zstd_level=3, gzip_level=3)
    app.add_middleware(
        PageCacheMiddleware,
        cache=PageCache(settings.page_cache_bytes),
        edition=_edition,
        query_names=_query_names(),
    )
    turns = FairLimiter(N_TURNS, settings.requests_per_client, max_waiting=MAX_WAITING_TURNS)
    app.add_middleware(FairTurns, turns=turns, refuse=_answer_error)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.trusted_hosts, www_redirect=False)
    app.add_middleware(CanonicalPath)
    if settings.api_cors:
        app.add_middleware(ApiCors)  # around redirects too, which browsers follow only where they allow it
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadLikeGet)
    app.add_middleware(CurrentClient)
    app.add_middleware(AccessLog)
    app.add_middleware(PathPrefix, prefix=settings.path_prefix, first_words=_first_words)


def _first_words(scope: Scope) -> set[str]:
    """The first segments of the site's own paths: `static`, `api`, ..., and the names of its indexes."""
    app: FastAPI = scope["app"]
    site: AppState = app.state.site
    paths = [getattr(route, "path", "/") for route in app.routes]
    return {path.split("/")[1] for path in paths if not path.startswith("/{")} | set(site.indexes)


def _query_names() -> frozenset[str]:
    """Every name that some route reads from a query."""
    declared = [
        _names_in(route.dependant)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    return frozenset({VERSION}.union(*declared))


def _names_in(dependant: Dependant) -> set[str]:
    """The query names of a route and of what it depends on."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_names_in, dependant.dependencies))


def _edition(scope: Scope) -> str:
    """Returns a text that changes with all that a page may say beyond its index: see `page_cache`."""
    site: AppState = scope["app"].state.site
    return "|".join(
        f"{index.reader.edition()} {site.worker.unavailable_reason(index.reader.index_dir)}"
        for index in site.indexes.values()
    )


def _lifespan(
    settings: Settings, models: ModelStandIns, metrics: Metrics
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        site = await run_in_threadpool(_open_site, settings, models, metrics)
        app.state.site = site
        app.state.decode_limiter = FairLimiter(POOL_SIZE, 1, max_waiting=MAX_WAITING_PER_CLIENT)
        metrics.registry.register(health.StateCollector(site))
        site.worker.start()
        tasks = [asyncio.create_task(_sweep(site)), asyncio.create_task(_load_at_start(site))]
        warming = asyncio.create_task(_warm(site))
        try:
            yield
        finally:
            if app.state.closing_s is not None:
                _end_process_in(app.state.closing_s)
            for task in tasks:
                task.cancel()
            await warming  # a thread cannot be stopped, and what it reads from is about to be closed
            site.previews.close()
            await run_in_threadpool(site.worker.stop)
            close_indexes(site.indexes)

    return lifespan


def _end_process_in(wait_s: float) -> None:
    """Ends the process after `wait_s`: a thread that loads a model, or hangs in one, cannot be stopped.

    Called off when all other threads have ended: a thread that still waits when Python ends keeps objects of
    DuckDB, which then writes a line about each.
    """

    def end() -> None:
        log.error("not everything came to its end in %g s; the process is ended", wait_s)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(wait_s, end)
    timer.daemon = True
    timer.start()
    atexit.register(_call_off, timer)  # these run after Python has waited for threads


def _call_off(timer: threading.Timer) -> None:
    timer.cancel()
    timer.join()


def _open_site(settings: Settings, models: ModelStandIns, metrics: Metrics) -> AppState:
    """Opens the site. Raises `InputError` for an index, block-list or upload folder that cannot be read."""
    if not settings.index_dirs:
        raise InputError("no index to serve: name at least one index folder")
    ttl_s = timedelta(hours=settings.upload_ttl_hours).total_seconds()
    blocklist = BlockList(settings.blocklist)  # one for all indexes and their uploads
    store = UploadStore(
        settings.upload_dir, ttl_s=ttl_s, max_uploads=settings.max_uploads, blocklist=blocklist
    )
    store.open()
    worker = Worker(
        models.encoders or scopeview_encoders(settings.encoder_device),
        bound=settings.upload_queue,
        batch=settings.upload_batch,
        deadline_s=settings.upload_deadline_s,
        budget=TimeBudget(settings.model_seconds_per_minute),
    )
    text_factory = models.texts or scopeview_text_encoders(settings.encoder_device)
    indexes = _open_indexes(settings, blocklist)
    for index in indexes.values():
        index.reader.on_damage = metrics.note_damage
    return AppState(
        settings=settings,
        indexes=indexes,
        uploads=store,
        upload_rate=UploadRate(settings.uploads_per_minute),
        upload_places=UploadPlaces(
            UPLOADS_PER_QUEUE_PLACE * settings.upload_queue, settings.uploads_per_client
        ),
        decoder=models.decoder or ProcessDecoder(settings.decode_deadline_s),
        decode_places=FairLimiter(N_PROCESSES, 1, max_waiting=settings.upload_queue),
        worker=worker,
        model_places=FairLimiter(
            N_MODEL_REQUESTS, settings.model_requests_per_client, max_waiting=MAX_WAITING_PER_CLIENT
        ),
        texts=TextEncoders(text_factory, worker),
        reports=Reports(settings.upload_dir / "reports.jsonl"),
        previews=Previews(),
        metrics=metrics,
    )


def _open_indexes(settings: Settings, blocklist: BlockList) -> dict[str, OpenIndex]:
    """Opens the indexes. Raises `InputError` for one that cannot be read."""
    return open_indexes(settings.index_dirs, blocklist=blocklist, unsafe_above=settings.unsafe_above)


async def _sweep(site: AppState) -> None:
    """Sweeps uploads again and again: what fails now may work the next time."""
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        try:
            n_failed = await run_in_threadpool(site.uploads.sweep)
            site.metrics.note_sweep(n_failed)
        except Exception:
            log.exception("the sweep of uploads failed; it is tried again in %.0f s", SWEEP_EVERY_S)
            site.metrics.note_sweep(1)


async def _warm(site: AppState) -> None:
    """Loads templates and reads indexes ahead, after the start.

    The start does not wait for it: until then, or if it fails, the database answers.
    """
    await run_in_threadpool(load_templates)
    for index in site.indexes.values():
        try:
            await run_in_threadpool(index.reader.warm)
        except DamagedError as error:
            site.metrics.note_damage(error)
        except Exception:
            log.exception("%s could not be read ahead", index.reader.index_dir)


async def _load_at_start(site: AppState) -> None:
    """Loads the models, if configured. A failure is in the log and on `/readyz`; pages work all the same."""
    if site.settings.encoder_load == "start":
        for index in site.indexes.values():
            with suppress(ProblemError):
                await run_in_threadpool(site.worker.encoder, index.reader.index_dir)


async def _answer_error(request: Request, error: Exception) -> Response:
    """Turns every error into HTML or JSON; no other place does."""
    answer = answer_for(error)
    if isinstance(error, DamagedError):
        request.app.state.site.metrics.note_damage(error)
    # What nothing expected is answered outside of all our middleware, and logged by the server.
    headers = {**HEADERS, **answer.headers, "Cache-Control": "no-store", HEADER: REQUEST_ID.get()}
    if answer.status == 405:
        headers["Allow"] = allowed_methods(request.scope)
    if _wants_json(request):
        body = ProblemBody(error=answer.error, detail=answer.detail)
        return JSONResponse(body.model_dump(), answer.status, headers)
    indexes = request.app.state.site.indexes
    named = indexes.get(route_path(request.scope).split("/")[1])
    page = problem_page(answer, named)
    return await run_in_threadpool(render, request, page, status=answer.status, headers=headers)


def _wants_json(request: Request) -> bool:
    if route_path(request.scope).startswith(f"{API}/"):
        return True
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept
