"""`/{index}/random`: redirects to a random feature that has a grid."""

import secrets

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from app.params.dependencies import IndexDep, TokenQuery
from app.params.view_params import AnyLayerQuery, slot_filter
from app.state import OpenIndex
from app.urls import URLS
from scopeview.errors import NotFoundError
from scopeview.slots import Slot

router = APIRouter(include_in_schema=False)


@router.get("/{index}/random", name="random")
def random_feature(
    index: IndexDep, layer: AnyLayerQuery = None, token: TokenQuery = None
) -> RedirectResponse:
    slot = _pick(index, layer, token)
    feature = index.reader.random_feature(slot, secrets.randbelow(2**31))
    if feature is None:
        raise NotFoundError(f"No feature at {slot.name} fires on nine images or more.")
    url = URLS.feature(index.slug, slot.layer, feature, slot.token)
    return RedirectResponse(url, status_code=302, headers={"Cache-Control": "no-store"})


def _pick(index: OpenIndex, layer: str | None, token: str | None) -> Slot:
    """Picks a slot that fits the query, if possible one that has grids."""
    slots = slot_filter(index, layer, token)
    fitting = [
        slot
        for slot in index.manifest.slots
        if slots.layer in (None, slot.layer) and (token is None or slot.token == slots.token)
    ]
    with_grids = [slot for slot in fitting if index.summaries[slot].n_active]
    return secrets.choice(with_grids or fitting)
