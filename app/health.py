"""`/healthz`, `/readyz`, `/metrics` and `/robots.txt`: for operators and crawlers."""

import shutil
from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from app.params.dependencies import SiteDep
from app.state import AppState, OpenIndex
from app.web.metrics import CONTENT_TYPE
from scopeview.slots import Layer

router = APIRouter(include_in_schema=False)
CARD_READERS = ("Twitterbot", "facebookexternalhit", "LinkedInBot", "Slackbot-LinkExpanding", "Discordbot")
ROBOTS = (
    "# The images here are other people's. Links that people share may still show their card.\n"
    + "".join(f"User-agent: {name}\n" for name in CARD_READERS)
    + "Allow: /\n\nUser-agent: *\nDisallow: /\n"
)
NO_STORE = {"Cache-Control": "no-store"}


class LoadedEncoder(BaseModel):
    model: str
    device: str
    dtype: str = Field(description="precision of the model; the SAEs are always float32")
    layers: list[Layer]
    n_bytes: int = Field(description="size of all weights, shared ones counted once")


class Readiness(BaseModel):
    ready: bool
    indexes: list[str]
    encoder: dict[str, str] = Field(description="by index: loaded, not loaded yet, or why it is absent")
    text: dict[str, str] = Field(description="state of the text encoder, which search by words needs")
    loaded: dict[str, LoadedEncoder] = Field(description="by index, where an encoder is loaded")
    uploads: str = Field(
        description="`kept`, or why uploads cannot be stored: the disk is full or not writable"
    )
    warm: dict[str, bool] = Field(
        description="by index: what is asked for all day is in memory; until then pages take longer"
    )


@router.get("/healthz")
def healthz() -> JSONResponse:
    """Answers as long as the process runs."""
    return JSONResponse({"ok": True}, headers=NO_STORE)


@router.get("/readyz")
def readyz(site: SiteDep) -> JSONResponse:
    """Reports what is loaded and what works.

    Pages need only indexes, so neither a missing encoder nor a full disk makes the server unready: monitoring
    reads `encoder` and `uploads`.
    """
    state = Readiness(
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


def _loaded(site: AppState, index: OpenIndex) -> LoadedEncoder | None:
    encoder = site.worker.encoders.loaded(index.reader.index_dir)
    if encoder is None:
        return None
    # By the name that pages give the model: the encoder knows its folder on this machine.
    return LoadedEncoder.model_validate({**encoder.facts(), "model": index.manifest.model.ref})


def _encoder(site: AppState, index: OpenIndex) -> str:
    index_dir = index.reader.index_dir
    return _state(site.worker.is_loaded(index_dir), site.worker.unavailable_reason(index_dir))


def _text(site: AppState, index: OpenIndex) -> str:
    index_dir = index.reader.index_dir
    return _state(site.texts.is_loaded(index_dir), site.texts.unavailable_reason(index_dir))


def _state(is_loaded: bool, unavailable_reason: str | None) -> str:
    return "loaded" if is_loaded else unavailable_reason or "not loaded yet"


class StateCollector(Collector):
    """Reads counters that others keep; never waits long for a disk or a device."""

    def __init__(self, site: AppState) -> None:
        self._site = site

    def describe(self) -> list[Metric]:
        """Returns nothing, so that the registry need not collect to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        site = self._site
        yield _gauge("worker_waiting", "Jobs that wait for the model", site.worker.n_waiting)
        yield self._encoders()
        yield _gauge("uploads_kept", "Stored uploads", site.uploads.n_kept)
        writable = site.uploads.why_unwritable() is None
        yield _gauge("uploads_writable", "1 where uploads can be written to the disk, else 0", int(writable))
        free = shutil.disk_usage(site.uploads.folder).free
        yield _gauge("uploads_disk_free_bytes", "Room on the disk of the uploads", free)

    def _encoders(self) -> Metric:
        loaded = GaugeMetricFamily(
            "scopeview_encoder_loaded", "1 where the model of an index is loaded, else 0", labels=["index"]
        )
        for slug, index in self._site.indexes.items():
            loaded.add_metric([slug], int(self._site.worker.is_loaded(index.reader.index_dir)))
        return loaded


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"scopeview_{name}", words, value=value)
