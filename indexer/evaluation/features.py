"""`scopeview eval features`: scores a finished index of a world against the true content of its scenes.

The features' top scenes are those stored in the index and shown on its pages. The controls are measured on
the same scenes, with identical pixels, in one pass through the index's own model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int8

from indexer.evaluation.concepts import Group, concepts, shown
from indexer.evaluation.controls import Control, Controls, ControlTops, cache_path, load_tops, save_tops
from indexer.evaluation.peak_location import PeakLocation, located
from indexer.evaluation.scenes import SceneTruths
from indexer.evaluation.score import Best, Shares, Top, best_concepts, covered, n_showing, random_top, shares
from indexer.evaluation.stored_index import StoredTop, read_top, read_truths
from scopeview.model_spec import load_encoder, pick_device, recipe_of
from scopeview.slots import ANY, CLS, Layer, Slot, Token
from scopeview.store.reader import IndexReader

_SEED = 0  # of the controls

Subject = Literal["SAE", "chance"] | Control
COVERED_GROUPS: tuple[Group, ...] = ("kind", "colour", "background")


@dataclass(frozen=True)
class SlotScore:
    """One line of the table."""

    layer: Layer
    token: Token
    subject: Subject
    shares: Shares


@dataclass(frozen=True)
class Coverage:
    """The number of a group's concepts that all top nine scenes of a feature show, at `cls` or `any`."""

    layer: Layer
    group: Group
    n_concepts: int
    n_covered: int
    missing: list[str]


@dataclass(frozen=True)
class FeatureMetrics:
    index: str
    model: str
    seed: int
    """The seed of the world."""
    n_scenes: int
    n_concepts: int
    scores: list[SlotScore]
    coverage: list[Coverage]
    located: dict[Layer, PeakLocation]


def evaluate_features(
    index_dir: Path, *, seed: int, device: str = "auto", with_controls: bool = True
) -> FeatureMetrics:
    """Scores the index. Raises `InputError` as `read_truths`, and with controls as `load_encoder`."""
    with IndexReader(index_dir) as reader:
        truths, others = _measure(reader, seed, device, with_controls=with_controls)
        stored = {slot: read_top(reader, slot) for slot in reader.manifest.slots}
        scored = _Scorer(truths)
        records = reader.manifest.layers
        return FeatureMetrics(
            index=reader.manifest.slug,
            model=reader.manifest.model.ref,
            seed=seed,
            n_scenes=len(truths),
            n_concepts=len(concepts()),
            scores=[line for slot, found in stored.items() for line in scored.lines(slot, found, others)],
            coverage=[coverage for record in records for coverage in scored.coverage(record.layer, stored)],
            located={
                slot.layer: scored.located(found) for slot, found in stored.items() if slot.token == ANY
            },
        )


def _measure(
    reader: IndexReader, seed: int, device: str, *, with_controls: bool
) -> tuple[SceneTruths, ControlTops]:
    """The truth of every scene and the controls' top scenes, both from one pass over the scenes."""
    if not with_controls:
        return read_truths(reader, seed), {}
    recipe = recipe_of(reader.index_dir, reader.manifest)
    path = cache_path(recipe, reader.manifest.database, pick_device(device), world_seed=seed, seed=_SEED)
    cached = load_tops(path)
    if cached is not None:
        return read_truths(reader, seed), cached
    controls = _controls(reader, device)
    truths = read_truths(reader, seed, controls)
    tops = controls.result()
    save_tops(path, tops)
    return truths, tops


def _controls(reader: IndexReader, device: str) -> Controls:
    encoder = load_encoder(reader.index_dir, device=device)
    l0s = {record.layer: record.figures.l0 for record in reader.manifest.layers if record.figures}
    return Controls(encoder.clip, encoder.saes, l0s, seed=_SEED)


class _Scorer:
    """Scores top scenes by the truth of an index's scenes."""

    def __init__(self, truths: SceneTruths) -> None:
        self._truths, self._shown = truths, shown(truths)
        self._base: Float64[np.ndarray, " concept"] = self._shown.mean(axis=0)

    def lines(
        self, slot: Slot, stored: StoredTop, others: Mapping[tuple[Control, Slot], Top]
    ) -> list[SlotScore]:
        """The table's lines for a slot: the SAE, then the controls if any, then chance."""
        tops: dict[Subject, Top] = {"SAE": stored.top}
        tops |= {control: top for (control, at), top in others.items() if at == slot}
        tops["chance"] = random_top(len(stored.top.features), len(self._truths), _SEED)
        return [
            SlotScore(slot.layer, slot.token, subject, shares(self._best(top), concepts()))
            for subject, top in tops.items()
        ]

    def coverage(self, layer: Layer, stored: Mapping[Slot, StoredTop]) -> list[Coverage]:
        tops = [
            found.top for slot, found in stored.items() if slot.layer == layer and slot.token in (CLS, ANY)
        ]
        found = np.any([covered(self._counts(top)) for top in tops], axis=0)
        return [_coverage(layer, group, found) for group in COVERED_GROUPS] if tops else []

    def located(self, stored: StoredTop) -> PeakLocation:
        assert stored.positions is not None
        return located(stored.top, stored.positions, self._best(stored.top), self._truths, concepts())

    def _best(self, top: Top) -> Best:
        return best_concepts(self._counts(top), self._base)

    def _counts(self, top: Top) -> Int8[np.ndarray, "feature concept"]:
        return n_showing(self._shown, top.scenes)


def _coverage(layer: Layer, group: Group, found: Bool[np.ndarray, " concept"]) -> Coverage:
    names = [
        (concept.name, bool(has))
        for concept, has in zip(concepts(), found, strict=True)
        if concept.group == group
    ]
    missing = [name for name, has in names if not has]
    return Coverage(layer, group, len(names), len(names) - len(missing), missing)
