"""Two images side by side: features that fire on both or on only one, slot by slot.

Compares the stored codes. Knows no HTML, no JSON and no URL.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.params.view_params import SlotFilter
from app.services.images import ImageRef
from app.state import OpenIndex
from scopeview.slots import Slot
from scopeview.store.records import ActiveFeature, Code


@dataclass(frozen=True)
class SharedFeature:
    """A feature that fires on both images."""

    one: ActiveFeature
    other: ActiveFeature


@dataclass(frozen=True)
class CodeOverlap:
    """One slot: features of both images, by the lower activation, and of one image alone, by its own."""

    slot: Slot
    shared: list[SharedFeature]
    one: list[ActiveFeature]
    other: list[ActiveFeature]

    @property
    def likeness(self) -> float:
        """Features of both / features of either; 0 if none fires on either."""
        either = len(self.shared) + len(self.one) + len(self.other)
        return len(self.shared) / either if either else 0.0


def compare_images(index: OpenIndex, one: ImageRef, other: ImageRef, slots: SlotFilter) -> list[CodeOverlap]:
    """Returns the overlap of each slot, in index order; empty if no code of one image is stored."""
    return code_overlaps(one.codes, other.codes, index.slots_at(slots.token, slots.layer))


def code_overlaps(one: Iterable[Code], other: Iterable[Code], slots: Sequence[Slot]) -> list[CodeOverlap]:
    """Returns the overlap of each slot at which both images have a code."""
    here, there = (_firing(codes) for codes in (one, other))
    return [_sides(slot, here[slot], there[slot]) for slot in slots if slot in here and slot in there]


def _firing(codes: Iterable[Code]) -> dict[Slot, dict[int, ActiveFeature]]:
    return {
        Slot(code.layer, code.token): {pair.feature: pair for pair in code.features if pair.activation > 0}
        for code in codes
    }


def _sides(slot: Slot, one: dict[int, ActiveFeature], other: dict[int, ActiveFeature]) -> CodeOverlap:
    both = [SharedFeature(one[feature], other[feature]) for feature in one if feature in other]
    both.sort(key=lambda pair: (-min(pair.one.activation, pair.other.activation), pair.one.feature))
    return CodeOverlap(slot, both, _alone(one, other), _alone(other, one))


def _alone(these: dict[int, ActiveFeature], others: dict[int, ActiveFeature]) -> list[ActiveFeature]:
    found = [pair for feature, pair in these.items() if feature not in others]
    return sorted(found, key=lambda pair: (-pair.activation, pair.feature))
