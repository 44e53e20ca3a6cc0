"""`.../og.png`: social cards of features and indexes, and the tags that name them."""

import hashlib

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import days, feature_name, percent, token_name
from app.pages.layout import Preview
from app.params.dependencies import FeaturePath, IndexDep, SiteDep, SlotDep
from app.services.social_card.select import feature_png, index_png, safe_nine
from app.state import OpenIndex
from app.urls import URLS
from app.web.caching import versioned_response
from scopeview.slots import Slot
from scopeview.store.records import Description, FeatureRecord

router = APIRouter(include_in_schema=False)


@router.get("/{index}/og.png", name="index_preview")
async def index_preview(request: Request, site: SiteDep, index: IndexDep) -> Response:
    version = _index_version(index)
    content = await site.previews.get((index.slug, version), lambda: index_png(index))
    return versioned_response(request, content, "image/png", version, f"{version}-og")


@router.get("/{index}/{layer}/{feature}/og.png", name="feature_preview")
async def feature_preview(
    request: Request, site: SiteDep, index: IndexDep, slot: SlotDep, feature: FeaturePath
) -> Response:
    record, word, nine = await run_in_threadpool(_shown, index, slot, feature)
    version = _version(index, slot, feature, word, nine)
    content = await site.previews.get(version, lambda: feature_png(index, record, word, nine))
    return versioned_response(request, content, "image/png", version, version)


def _shown(index: OpenIndex, slot: Slot, feature: int) -> tuple[FeatureRecord, str | None, list[int]]:
    """Returns the feature, its best name, and those of its images that anyone may see."""
    record = index.reader.feature(slot.layer, feature, slot.token)
    return record, _word(index.reader.description(slot, feature)), safe_nine(index, record)


def preview_of_index(index: OpenIndex) -> Preview:
    manifest = index.manifest
    about = (
        f"{manifest.n_images:,} images through {manifest.model.ref}, layers"
        f" {', '.join(map(str, index.layers))}, indexed {days(manifest.created)}."
    )
    return Preview(
        title=f"{index.slug} · Scopeview",
        description=about,
        url=URLS.index(index.slug),
        image=URLS.preview(index.slug, _index_version(index)),
        alt="Three features, each as the nine images on which it fires most",
    )


def preview_of_feature(
    index: OpenIndex, slot: Slot, record: FeatureRecord, description: Description | None
) -> Preview:
    """Builds the preview; the URL of its image changes with the content of that image."""
    name, word = feature_name(record.layer, record.feature), _word(description)
    version = _version(index, slot, record.feature, word, safe_nine(index, record))
    fires = (
        f"Fires on {record.n_active:,} of {record.n_images:,} images ({percent(record.density)}) at"
        f" {token_name(record.token)}."
        if record.n_active
        else f"Fires on none of {record.n_images:,} images at {token_name(record.token)}."
    )
    return Preview(
        title=f"{name}{f' · {word}' if word else ''} · {index.slug}",
        description=fires,
        url=URLS.feature(index.slug, record.layer, record.feature, record.token),
        image=URLS.feature_preview(index.slug, record.layer, record.feature, record.token, version),
        alt=f"{name}{f', {word},' if word else ''} as the nine images on which it fires most",
    )


def _index_version(index: OpenIndex) -> str:
    return "-".join(filter(None, [index.version, index.reader.edition()]))


def _version(index: OpenIndex, slot: Slot, feature: int, word: str | None, nine: list[int]) -> str:
    seen = repr((index.version, slot.name, feature, word, nine))
    return hashlib.sha256(seen.encode()).hexdigest()[:12]


def _word(description: Description | None) -> str | None:
    return description.names[0].word if description and description.names else None
