"""`/healthz`, `/readyz`, `/metrics`: for those who run the server."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from app.api.schemas.common import LoadedOut, ReadyOut
from app.params.common import SiteDep
from app.state import AppState, OpenIndex
from app.web.metrics import CONTENT_TYPE

router = APIRouter(include_in_schema=False)
CARD_READERS = ("Twitterbot", "facebookexternalhit", "LinkedInBot", "Slackbot-LinkExpanding", "Discordbot")
ROBOTS = (
    "# The images here are other people's. Links that people share may still show their card.\n"
    + "".join(f"User-agent: {name}\n" for name in CARD_READERS)
    + "Allow: /\n\nUser-agent: *\nDisallow: /\n"
)
NO_STORE = {"Cache-Control": "no-store"}


@router.get("/healthz")
def healthz() -> JSONResponse:
    """The process answers."""
    return JSONResponse({"ok": True}, headers=NO_STORE)


@router.get("/readyz")
def readyz(site: SiteDep) -> JSONResponse:
    """What is loaded and what works. Pages need indexes alone, so that neither an absent encoder nor a full
    disk makes the server unready: whoever watches it reads `encoder` and `uploads`."""
    state = ReadyOut(
        ready=bool(site.indexes),
        indexes=list(site.indexes),
        encoder={slug: _encoder(site, index) for slug, index in site.indexes.items()},
        text={slug: _text(site, index) for slug, index in site.indexes.items()},
        loaded={slug: facts for slug, index in site.indexes.items() if (facts := _loaded(site, index))},
        uploads=site.uploads.why_unwritable() or "kept",
        warm={slug: index.reader.is_warm for slug, index in site.indexes.items()},
    )
    return JSONResponse(state.model_dump(), 200 if state.ready else 503, headers=NO_STORE)


@router.get("/robots.txt")
def robots() -> PlainTextResponse:
    return PlainTextResponse(ROBOTS, headers={"Cache-Control": "public, max-age=86400"})


@router.get("/metrics")
def metrics(site: SiteDep) -> Response:
    return Response(site.metrics.render(), media_type=CONTENT_TYPE, headers=NO_STORE)


def _loaded(site: AppState, index: OpenIndex) -> LoadedOut | None:
    encoder = site.worker.encoders.loaded(index.reader.index_dir)
    if encoder is None:
        return None
    # By the name that pages give the model: the encoder knows its folder on this machine.
    return LoadedOut.model_validate({**encoder.facts(), "model": index.manifest.model.ref})


def _encoder(site: AppState, index: OpenIndex) -> str:
    index_dir = index.reader.index_dir
    return _state(site.worker.is_loaded(index_dir), site.worker.unavailable_reason(index_dir))


def _text(site: AppState, index: OpenIndex) -> str:
    index_dir = index.reader.index_dir
    return _state(site.texts.is_loaded(index_dir), site.texts.unavailable_reason(index_dir))


def _state(is_loaded: bool, unavailable_reason: str | None) -> str:
    return "loaded" if is_loaded else unavailable_reason or "not loaded yet"
