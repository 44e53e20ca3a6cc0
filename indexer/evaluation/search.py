"""`scopeview eval search`: does the text of a concept find a feature that represents it?

The index answers as its site does, by the feature vectors that `describe` made. As a control, the same texts
are compared with the features' decoder rows. `retrieval` says which answers are right.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch.nn.functional import normalize

from indexer.evaluation.concepts import concepts, shown
from indexer.evaluation.report import percent
from indexer.evaluation.retrieval import (
    AMONG,
    FeatureMeanings,
    Finder,
    SearchMethod,
    SearchScore,
    meaning,
    score,
    search_scopes,
)
from indexer.evaluation.stored_index import read_top, read_truths
from scopeview.errors import InputError
from scopeview.model_spec import load_encoder, load_text_encoder
from scopeview.sae.autoencoder import Sae
from scopeview.slots import EMBED, Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import Hit
from scopeview.vision.clip import Clip


@dataclass(frozen=True)
class SearchMetrics:
    index: str
    model: str
    seed: int
    """The seed of the world."""
    n_scenes: int
    scores: list[SearchScore]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_search(
    index_dir: Path, *, seed: int, device: str = "auto", with_controls: bool = True
) -> SearchMetrics:
    """Scores search. Raises `InputError` without vectors, as `read_truths` and as `load_text_encoder`."""
    with IndexReader(index_dir) as reader:
        slots = reader.manifest.slots
        if not any(len(reader.search.features(slot)) for slot in slots):
            raise InputError(f"{index_dir} has no feature vectors to search; `scopeview describe` makes them")
        texts = [concept.text for concept in concepts() if concept.text is not None]
        embedded = load_text_encoder(index_dir, device=device).embed(texts)
        vectors = dict(zip(texts, embedded, strict=True))
        scenes = shown(read_truths(reader, seed))
        meanings = {slot: meaning(scenes, read_top(reader, slot).top) for slot in slots}
        finders: dict[SearchMethod, Finder] = {"vectors": _VectorFinder(reader)}
        if with_controls:
            finders["decoder"] = _lens_finder(index_dir, meanings, device)
        return SearchMetrics(
            index=reader.manifest.slug,
            model=reader.manifest.model.ref,
            seed=seed,
            n_scenes=len(scenes),
            scores=[
                line for search in search_scopes(slots) for line in score(search, meanings, vectors, finders)
            ],
        )


class _VectorFinder:
    """Finds features as the site's search does."""

    def __init__(self, reader: IndexReader) -> None:
        self._reader = reader

    def __call__(self, slot: Slot, vector: Float32[np.ndarray, " projection"], k: int, /) -> Sequence[Hit]:
        search = self._reader.search
        return search.features(slot).nearest(search.centred(vector, "text"), k)


class Rows(NamedTuple):
    """Some features of a slot, with a vector of unit length for each."""

    features: Int64[np.ndarray, " feature"]
    vectors: Float32[np.ndarray, "feature projection"]


class RowFinder:
    """Finds features by their row's cosine with the query; ties go to the lower feature."""

    def __init__(self, rows: Mapping[Slot, Rows]) -> None:
        self._rows = rows

    def __call__(self, slot: Slot, vector: Float32[np.ndarray, " projection"], k: int, /) -> Sequence[Hit]:
        features, vectors = self._rows[slot]
        cosines = vectors @ (vector / np.linalg.norm(vector))
        best = np.argsort(-cosines, kind="stable")[:k]
        return [Hit(int(features[at]), float(cosines[at])) for at in best]


def _lens_finder(index_dir: Path, meanings: Mapping[Slot, FeatureMeanings], device: str) -> RowFinder:
    """Finds features by decoder rows, among the same features as the search itself."""
    encoder = load_encoder(index_dir, device=device)
    lenses = {layer: decoder_logit_lens(encoder.clip, sae) for layer, sae in encoder.saes.items()}
    return RowFinder(
        {slot: Rows(found.features, lenses[slot.layer][found.features]) for slot, found in meanings.items()}
    )


def search_table(found: SearchMetrics) -> Iterator[str]:
    """Yields the table line by line."""
    yield f"{found.index}: {found.model} on {found.n_scenes:,} scenes of world {found.seed}"
    yield ""
    yield "Text search: of the concepts that a feature stands for, the share whose text finds a right feature"
    yield f"among the first {AMONG} answers, and as the very first; the former by group of concepts"
    yield ""
    yield f"{'layer':6}{'token':6}{'by':9}{'concepts':>9}{f'first {AMONG}':>9}{'first':>8}"
    for line in found.scores:
        groups = "  ".join(
            f"{group} {percent(share)} of {line.n_by_group[group]}"
            for group, share in line.among_by_group.items()
        )
        yield (
            f"{line.layer!s:6}{line.token:6}{line.how:9}{line.n_concepts:>9}{percent(line.among):>9}"
            f"{percent(line.first):>8}   {groups}"
        )


@torch.inference_mode()
def decoder_logit_lens(clip: Clip, sae: Sae) -> Float32[np.ndarray, "feature projection"]:
    """The logit lens of every feature, of unit length."""
    rows, stats = sae.dec, sae.standardization
    if stats is not None:
        rows = rows * (stats.to(rows.device).std + stats.eps)
    if sae.config.layer != EMBED:
        rows = clip.tower.embed(rows.to(clip.dtype)[:, None])
    found: Float32[np.ndarray, "feature projection"] = normalize(rows.float(), dim=1).cpu().numpy()
    return found
