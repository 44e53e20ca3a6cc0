"""`scopeview eval heat`: is heat true, and do groups matter? On scenes of the world that nothing has seen.

What a feature stands for is taken from an index of the world (`heat_features`); the scenes that heat and
groups are tried on are of another world, with the index's own model and SAEs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.evaluation.ablation import Removal, RemovedShares, TokenPlace, removals, shares_of
from indexer.evaluation.concepts import Group, concepts, shown
from indexer.evaluation.heatmap_features import ThingFeatures, read_ranked, thing_features
from indexer.evaluation.heatmap_prompts import QUESTIONS, Question, prompts_of
from indexer.evaluation.localization import HeatShares, Pairs, joined, pairs_of, shares_by_group
from indexer.evaluation.scenes import truth_of
from indexer.evaluation.stored_index import pixels_of, read_top, read_truths
from indexer.prepare import batched
from indexer.world import Scene, make_scene
from scopeview.errors import InputError
from scopeview.model_spec import load_encoder, load_text_encoder
from scopeview.progress import task
from scopeview.slots import ANY, Layer
from scopeview.store.reader import IndexReader
from scopeview.vision.encoder import Encoder
from scopeview.vision.text import TextEncoder

_BATCH_SIZE = 8
_SEED = 0  # of what is drawn at random to compare with


@dataclass(frozen=True)
class KindLine:
    """A kind of thing and the feature that stands for it at one layer."""

    layer: Layer
    kind: str
    feature: int
    average_precision: float
    n_pairs: int
    """Fresh scenes with that thing."""
    inside: float | None


@dataclass(frozen=True)
class RemovedLine:
    """One line of the second table."""

    question: Question
    place: TokenPlace
    shares: RemovedShares


@dataclass(frozen=True)
class HeatFigures:
    index: str
    model: str
    seed: int
    """Of the index's world."""
    fresh_seed: int
    """Of the world that all figures are of."""
    n_scenes: int
    n_single: int
    located: dict[Layer, dict[Group, HeatShares]]
    kinds: list[KindLine]
    removed: list[RemovedLine]


def evaluate_heat(
    index_dir: Path, *, seed: int, fresh_seed: int, n_scenes: int, n_single: int, device: str = "auto"
) -> HeatFigures:
    """Raises `InputError` where the fresh world is the index's own, for an index without the token `any`, as
    `read_truths`, and where the index's model, its SAEs or its text tower are not to be had."""
    if fresh_seed == seed:
        raise InputError(f"world {seed} is the index's own; fresh scenes are of another one (--fresh-seed)")
    with IndexReader(index_dir) as reader:
        manifest, things = reader.manifest, _things(reader, seed)
    encoder, texts = load_encoder(index_dir, device=device), load_text_encoder(index_dir, device=device)
    pairs = _located(encoder, things, [(fresh_seed, number) for number in range(n_scenes)])
    single = [make_scene(fresh_seed, number, n_things=1) for number in range(n_single)]
    return HeatFigures(
        index=manifest.slug,
        model=manifest.model.ref,
        seed=seed,
        fresh_seed=fresh_seed,
        n_scenes=n_scenes,
        n_single=n_single,
        located={layer: shares_by_group(things[layer], found) for layer, found in pairs.items()},
        kinds=[line for layer, found in pairs.items() for line in _kinds(layer, things[layer], found)],
        removed=_lines(_removed(encoder, single), single, texts, encoder.logit_scale),
    )


def _things(reader: IndexReader, seed: int) -> dict[Layer, ThingFeatures]:
    """By layer that has the token `any`."""
    slots = [slot for slot in reader.manifest.slots if slot.token == ANY]
    if not slots:
        raise InputError(
            f"{reader.index_dir} has no token any, at which features are told to stand for things"
        )
    truth = shown(read_truths(reader, seed))
    return {
        slot.layer: thing_features(read_ranked(reader, slot), read_top(reader, slot).top, truth)
        for slot in slots
    }


def _located(
    encoder: Encoder, things: Mapping[Layer, ThingFeatures], scenes: Sequence[tuple[int, int]]
) -> dict[Layer, Pairs]:
    found: dict[Layer, list[Pairs]] = {layer: [] for layer in things}
    random, grid = np.random.default_rng(_SEED), encoder.clip.info.grid
    with task("heat", len(scenes), "scenes") as progress:
        for batch in batched((make_scene(*scene) for scene in scenes), _BATCH_SIZE):
            aparts = encoder.apart(pixels_of(batch, encoder.clip).numpy(), list(things), embedding=False)
            for scene, apart in zip(batch, aparts, strict=True):
                truth = truth_of(scene, grid)
                for layer, features in things.items():
                    found[layer].append(
                        pairs_of(apart.layers[layer], features, truth, shown(truth)[0], random)
                    )
            progress.advance(len(batch))
    return {layer: joined(pairs) for layer, pairs in found.items()}


def _kinds(layer: Layer, things: ThingFeatures, pairs: Pairs) -> list[KindLine]:
    lines = []
    for number, feature, precision in zip(*(column.tolist() for column in things), strict=True):
        concept = concepts()[number]
        if concept.group == "kind":
            inside = pairs.inside[pairs.concepts == number]
            share = float(inside.mean()) if len(inside) else None
            lines.append(KindLine(layer, concept.name, feature, precision, len(inside), share))
    return lines


def _removed(encoder: Encoder, scenes: Sequence[Scene]) -> dict[TokenPlace, list[Removal]]:
    found: dict[TokenPlace, list[Removal]] = defaultdict(list)
    random = np.random.default_rng(_SEED)
    with task("groups", len(scenes), "scenes") as progress:
        for scene in scenes:
            for place, removal in removals(encoder, pixels_of([scene], encoder.clip).numpy()[0], random):
                found[place].append(removal)
            progress.advance(1)
    return found


def _lines(
    removed: Mapping[TokenPlace, Sequence[Removal]],
    scenes: Sequence[Scene],
    texts: TextEncoder,
    logit_scale: float,
) -> list[RemovedLine]:
    lines = []
    for question in QUESTIONS:
        prompts = prompts_of(question, scenes)
        embedded = texts.embed(prompts.texts)
        lines += [
            RemovedLine(question, place, shares_of(found, prompts.right, embedded, logit_scale))
            for place, found in removed.items()
        ]
    return lines
