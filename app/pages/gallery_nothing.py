"""What a gallery says where no feature passes its filters: why, and what to do about it. Pure."""

from dataclasses import dataclass, replace

from app.formatting import count
from app.pages.gallery_state import GalleryState
from app.pages.layout import Link, slot_name
from app.params.filters import Filters
from app.state import OpenIndex
from scopeview.slots import Slot


@dataclass(frozen=True)
class Nothing:
    """Why there is no card, and what to do about it."""

    words: str
    way: Link | None


def nothing_here(index: OpenIndex, slot: Slot, state: GalleryState) -> Nothing:
    summary = index.summaries[slot]
    at = slot_name(slot)
    if missing := _missing(index, state.filters):
        return Nothing(missing, Link("show all features", unfiltered(index, slot, state) or ""))
    if not summary.n_live:
        return Nothing(
            f"No feature fires at {at} on the indexed images. Choose another token or layer above.", None
        )
    if state.filters == Filters():
        all_live = replace(state.on(1), filters=Filters(min_images=1)).url(index, slot.layer, slot.token)
        words = f"No feature fires on nine images or more at {at}."
        return Nothing(words, Link(f"show the {count(summary.n_live)} that fire on fewer images", all_live))
    return Nothing(
        "No feature matches these filters.", Link("clear filters", unfiltered(index, slot, state) or "")
    )


def _missing(index: OpenIndex, filters: Filters) -> str | None:
    """What the filters ask for and this index does not have, in a sentence."""
    describe = index.manifest.describe
    if filters.ask_for_descriptions and describe is None:
        return "Names and clarity were not computed for this index."
    if filters.name is not None and describe is not None and describe.vocabulary is None:
        return f"Features of this index have no names: {describe.without_names}."
    return None


def unfiltered(index: OpenIndex, slot: Slot, state: GalleryState) -> str | None:
    if state.filters == Filters():
        return None
    return replace(state.on(1), filters=Filters()).url(index, slot.layer, slot.token)
