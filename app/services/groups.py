"""Groups of an image's features, and their names."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from app.engine.encoders import EncoderProtocol
from app.formatting import feature_name
from app.services.feature_cards import FeatureCards, described_slot, rows_without_grid
from app.state import OpenIndex
from scopeview.analysis.decomposition import LayerDecomposition, Peaks
from scopeview.analysis.grouping import THRESHOLD, Group
from scopeview.analysis.token_selection import Selection, groups_here
from scopeview.slots import Layer
from scopeview.store.records import FeatureCard

N_NAMES = 3


def group_features(
    encoder: EncoderProtocol,
    layer: Layer,
    found: LayerDecomposition,
    selection: Selection,
    threshold: float = THRESHOLD,
) -> list[Group]:
    peaks = Peaks(found, selection.positions)
    directions = encoder.directions(layer, peaks.features.tolist())
    return groups_here(found, selection, directions, threshold=threshold)


def cards_of_groups(
    index: OpenIndex, layer: Layer, selection: Selection, groups: Sequence[Group], n: int
) -> FeatureCards:
    """Returns the cards of all features in the groups, with the images of each group's `n` largest."""
    slot = described_slot(index, layer, selection)
    cards = index.reader.cards(slot, [feature for group in groups for feature in group.features.tolist()])
    shown = [cards[at] for group in groups for at in group.features[:n].tolist() if at in cards]
    return FeatureCards(slot, cards, rows_without_grid(index, shown), {})


def group_names(groups: Iterable[Group], cards: Mapping[int, FeatureCard], layer: Layer) -> list[list[str]]:
    """Returns each group's names. No two groups have the same first name: the heavier one keeps it."""
    used = set[str]()
    found = []
    for group in groups:
        names = names_in_group(group, cards, layer)
        number = feature_name(layer, int(group.features[0]))
        own = next((name for name in names if name not in used), f"{names[0]} ({number})")
        used.add(own)
        found.append([own, *(name for name in names if name != own)][:N_NAMES])
    return found


def names_in_group(group: Group, cards: Mapping[int, FeatureCard], layer: Layer) -> list[str]:
    """Returns the names of its features, those with the most mass first; its top feature's number if none."""
    masses: dict[str, float] = defaultdict(float)
    for feature, mass in zip(group.features.tolist(), group.masses.tolist(), strict=True):
        card = cards.get(feature)
        if card is not None and card.name is not None:
            masses[card.name] += mass
    named = sorted(masses, key=lambda name: (-masses[name], name))
    return named or [feature_name(layer, int(group.features[0]))]
