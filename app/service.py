"""`/healthz`, `/readyz`, `/metrics`: for those who run the server."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from app.api.models import LoadedOut, ReadyOut
from app.metrics import CONTENT_TYPE
from app.params import SiteDep
from app.site import OpenIndex, Site

router = APIRouter(include_in_schema=False)
NO_STORE = {"Cache-Control": "no-store"}


@router.get("/healthz")
def healthz() -> JSONResponse:
    """The process answers."""
    return JSONResponse({"ok": True}, headers=NO_STORE)


@router.get("/readyz")
def readyz(site: SiteDep) -> JSONResponse:
    """What is loaded. Pages need indexes alone, so an absent encoder does not make the server unready."""
    state = ReadyOut(
        ready=bool(site.indexes),
        indexes=list(site.indexes),
        encoder={slug: _encoder(site, index) for slug, index in site.indexes.items()},
        text={slug: _text(site, index) for slug, index in site.indexes.items()},
        loaded={slug: facts for slug, index in site.indexes.items() if (facts := _loaded(site, index))},
        warm={slug: index.reader.is_warm for slug, index in site.indexes.items()},
    )
    return JSONResponse(state.model_dump(), 200 if state.ready else 503, headers=NO_STORE)


@router.get("/metrics")
def metrics(site: SiteDep) -> Response:
    return Response(site.metrics.render(), media_type=CONTENT_TYPE, headers=NO_STORE)


def _loaded(site: Site, index: OpenIndex) -> LoadedOut | None:
    encoder = site.worker.encoders.loaded(index.reader.index_dir)
    return None if encoder is None else LoadedOut.model_validate(encoder.facts())


def _encoder(site: Site, index: OpenIndex) -> str:
    index_dir = index.reader.index_dir
    return _state(site.worker.is_loaded(index_dir), site.worker.why_absent(index_dir))


def _text(site: Site, index: OpenIndex) -> str:
    index_dir = index.reader.index_dir
    return _state(site.texts.is_loaded(index_dir), site.texts.why_absent(index_dir))


def _state(is_loaded: bool, why_absent: str | None) -> str:
    return "loaded" if is_loaded else why_absent or "not loaded yet"
