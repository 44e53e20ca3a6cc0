"""`scopeview eval heat`: do heatmaps peak on their object, and do groups matter? Measured on unseen scenes.

The concept that a feature represents is taken from an index of the world (`heatmap_features`). Heatmaps and
groups are tested on scenes of another world, with the index's own model and SAEs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from indexer.evaluation.ablation import Ablation, AblationShares, AblationSite, ablate_scene, ablation_shares
from indexer.evaluation.concepts import Group, concepts, shown
from indexer.evaluation.heatmap_features import ObjectFeatures, object_features, read_rankings
from indexer.evaluation.localization import (
    HeatmapShares,
    LocalizationPairs,
    concatenate_pairs,
    localization_pairs,
    shares_by_group,
)
from indexer.evaluation.scenes import COLOUR_NAMES, KINDS, scene_truth
from indexer.evaluation.stored_index import read_top, read_truths, scene_pixels
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


Question = Literal["kind", "colour", "kind and colour", "caption"]
QUESTIONS: tuple[Question, ...] = get_args(Question)


class ScenePrompts(NamedTuple):
    """Distinct texts, and for every scene the number of the text that describes it."""

    texts: list[str]
    right: list[int]


def scene_prompts(question: Question, scenes: Sequence[Scene]) -> ScenePrompts:
    """The prompts for scenes with one object each."""
    if question == "caption":
        texts = list(dict.fromkeys(scene.caption for scene in scenes))
        return ScenePrompts(texts, [texts.index(scene.caption) for scene in scenes])
    asked = [concept for concept in concepts() if concept.group == question]
    ablation_sites = {(concept.kind, concept.colour): number for number, concept in enumerate(asked)}
    kinds = [KINDS.index(scene.largest.kind) if "kind" in question else None for scene in scenes]
    colours = [COLOUR_NAMES.index(scene.largest.colour) if "colour" in question else None for scene in scenes]
    return ScenePrompts(
        [str(concept.text) for concept in asked],
        [ablation_sites[pair] for pair in zip(kinds, colours, strict=True)],
    )


@dataclass(frozen=True)
class KindLine:
    """A kind of thing and the feature that represents it at one layer."""

    layer: Layer
    kind: str
    feature: int
    average_precision: float
    n_pairs: int
    """Fresh scenes with that thing."""
    inside: float | None


@dataclass(frozen=True)
class AblationLine:
    """One line of the second table."""

    question: Question
    place: AblationSite
    shares: AblationShares


@dataclass(frozen=True)
class HeatmapMetrics:
    index: str
    model: str
    seed: int
    """The seed of the index's world."""
    fresh_seed: int
    """The seed of the world that all metrics are measured on."""
    n_scenes: int
    n_single: int
    located: dict[Layer, dict[Group, HeatmapShares]]
    kinds: list[KindLine]
    removed: list[AblationLine]


def evaluate_heat(
    index_dir: Path, *, seed: int, fresh_seed: int, n_scenes: int, n_single: int, device: str = "auto"
) -> HeatmapMetrics:
    """Raises `InputError` if the fresh world is the index's own, if the index has no token `any`, as
    `read_truths` does, and if the index's model, its SAEs or its text encoder are unavailable."""
    if fresh_seed == seed:
        raise InputError(f"world {seed} is the index's own; fresh scenes are of another one (--fresh-seed)")
    with IndexReader(index_dir) as reader:
        manifest, things = reader.manifest, _things(reader, seed)
    encoder, texts = load_encoder(index_dir, device=device), load_text_encoder(index_dir, device=device)
    pairs = _located(encoder, things, [(fresh_seed, number) for number in range(n_scenes)])
    single = [make_scene(fresh_seed, number, n_things=1) for number in range(n_single)]
    return HeatmapMetrics(
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


def _things(reader: IndexReader, seed: int) -> dict[Layer, ObjectFeatures]:
    """The object concepts and their features, for each layer that has the token `any`."""
    slots = [slot for slot in reader.manifest.slots if slot.token == ANY]
    if not slots:
        raise InputError(
            f"{reader.index_dir} has no token any, at which features are told to stand for things"
        )
    truth = shown(read_truths(reader, seed))
    return {
        slot.layer: object_features(read_rankings(reader, slot), read_top(reader, slot).top, truth)
        for slot in slots
    }


def _located(
    encoder: Encoder, things: Mapping[Layer, ObjectFeatures], scenes: Sequence[tuple[int, int]]
) -> dict[Layer, LocalizationPairs]:
    found: dict[Layer, list[LocalizationPairs]] = {layer: [] for layer in things}
    random, grid = np.random.default_rng(_SEED), encoder.clip.info.grid
    with task("heat", len(scenes), "scenes") as progress:
        for batch in batched((make_scene(*scene) for scene in scenes), _BATCH_SIZE):
            decompositions = encoder.decompose(
                scene_pixels(batch, encoder.clip).numpy(), list(things), embedding=False
            )
            for scene, decomposition in zip(batch, decompositions, strict=True):
                truth = scene_truth(scene, grid)
                for layer, features in things.items():
                    found[layer].append(
                        localization_pairs(
                            decomposition.layers[layer], features, truth, shown(truth)[0], random
                        )
                    )
            progress.advance(len(batch))
    return {layer: concatenate_pairs(pairs) for layer, pairs in found.items()}


def _kinds(layer: Layer, things: ObjectFeatures, pairs: LocalizationPairs) -> list[KindLine]:
    lines = []
    for number, feature, precision in zip(*(column.tolist() for column in things), strict=True):
        concept = concepts()[number]
        if concept.group == "kind":
            inside = pairs.inside[pairs.concepts == number]
            share = float(inside.mean()) if len(inside) else None
            lines.append(KindLine(layer, concept.name, feature, precision, len(inside), share))
    return lines


def _removed(encoder: Encoder, scenes: Sequence[Scene]) -> dict[AblationSite, list[Ablation]]:
    found: dict[AblationSite, list[Ablation]] = defaultdict(list)
    random = np.random.default_rng(_SEED)
    with task("groups", len(scenes), "scenes") as progress:
        for scene in scenes:
            for place, removal in ablate_scene(
                encoder, scene_pixels([scene], encoder.clip).numpy()[0], random
            ):
                found[place].append(removal)
            progress.advance(1)
    return found


def _lines(
    removed: Mapping[AblationSite, Sequence[Ablation]],
    scenes: Sequence[Scene],
    texts: TextEncoder,
    logit_scale: float,
) -> list[AblationLine]:
    lines = []
    for question in QUESTIONS:
        prompts = scene_prompts(question, scenes)
        embedded = texts.embed(prompts.texts)
        lines += [
            AblationLine(question, place, ablation_shares(found, prompts.right, embedded, logit_scale))
            for place, found in removed.items()
        ]
    return lines
