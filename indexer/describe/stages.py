"""Computes each part of the describe stage and writes it to disk. `stage` decides which to run."""

import threading
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32

from indexer.describe.embeddings import Embeddings
from indexer.describe.layout import tsne_layout
from indexer.describe.names import nearest_words, word_vectors
from indexer.describe.near_duplicates import NearDuplicates
from indexer.describe.neighbors import NeighborFinder
from indexer.describe.parquet_parts import known, lists, ragged, write_part
from indexer.describe.plan import DescribePlan
from indexer.describe.top_images import (
    SlotTopImages,
    clarity,
    feature_vectors,
    label_entropy,
    read_peak_positions,
    read_top_images,
)
from scopeview.slots import Layer, Slot, Token
from scopeview.store.files import atomic_write, image_vectors, slot_vectors
from scopeview.store.reader import IndexReader
from scopeview.store.vectors import EXACT_BELOW, exact_index, faiss, large_index
from scopeview.vision.text import TextEncoder

_TOPS_AT_ONCE = 1024
_SAMPLED = 1 << 18  # images that place the cells of a large search index


class DescribeStages:
    """Computes the parts of a describe stage; loads each input once, on first use."""

    def __init__(self, plan: DescribePlan, reader: IndexReader, cofiring_every: dict[Token, int]) -> None:
        self._plan, self._reader, self._settings = plan, reader, plan.settings
        self._neighborhood = NeighborFinder(plan, reader, cofiring_every)
        self.stop_maps = threading.Event()
        """Once set, running map computations end early and write nothing."""

    def write_images(self) -> None:
        """Writes the index for search among images."""
        embeddings = self._embeddings
        exact = embeddings.n_images < EXACT_BELOW
        index = exact_index(embeddings.width) if exact else self._large_index()
        for start in embeddings.chunk_starts:
            index.add(embeddings.chunk(start))
        with atomic_write(image_vectors(self._plan.index_dir)) as part:
            faiss().write_index(index, str(part))

    def write_words(self) -> None:
        """Writes the vocabulary's embeddings, and the mean that feature vectors are offsets from."""
        words, mean = self._words, lists(self._embeddings.mean[None], pa.float32())
        write_part(self._plan.part("means"), {"of": ["image"], "mean": mean})
        listed = pa.array(self._plan.vocabulary.words[: len(words)], pa.string())
        write_part(self._plan.part("words"), {"word": listed, "embedding": lists(words, pa.float32())})

    def write_top_images(self, slot: Slot) -> None:
        """Writes the feature vectors first, then the part: if the part exists, so do the vectors."""
        tops, least = read_top_images(self._reader, slot), self._settings.min_images
        vectors = feature_vectors(tops, self._embeddings, self._plan.n_features(slot.layer), least)
        with atomic_write(slot_vectors(self._plan.index_dir, slot)) as part, part.open("wb") as file:
            np.save(file, vectors)
        found = [
            self._top_metrics(tops.rows(at, at + _TOPS_AT_ONCE))
            for at in range(0, max(len(tops), 1), _TOPS_AT_ONCE)
        ]
        clear, entropy, folds = (np.concatenate(column) for column in zip(*found, strict=True))
        active = tops.n_active >= least
        columns = {
            "feature": tops.features,
            "clarity": known(np.where(active, clear, np.nan)),
            "label_entropy": known(np.where(active, entropy, np.nan)),
            "folds": ragged(folds, tops.present, pa.int8()),
        }
        write_part(self._plan.slot_part(slot, "tops"), columns)

    def write_names(self, slot: Slot) -> None:
        features, vectors = self.active_vectors(slot)
        found = nearest_words(vectors, self._words, self._settings.n_names)
        words = np.array(self._plan.vocabulary.words, dtype=object)[found.words]
        scores = lists(found.scores, pa.float32())
        columns = {"feature": features, "names": lists(words, pa.string()), "name_scores": scores}
        write_part(self._plan.slot_part(slot, "names"), columns)

    def write_map(
        self,
        features: Int32[np.ndarray, " active"],
        vectors: Float32[np.ndarray, "active projection"],
        slot: Slot,
    ) -> None:
        """Writes the map of the features of `active_vectors`. Threads may write different slots at once."""
        points = tsne_layout(
            vectors,
            perplexity=self._settings.perplexity,
            iterations=self._settings.map_iterations,
            seed=self._settings.seed,
            stop=self.stop_maps,
        )
        if self.stop_maps.is_set():
            return
        columns = {"feature": features, "x": points[:, 0], "y": points[:, 1]}
        write_part(self._plan.slot_part(slot, "map"), columns)

    def write_neighbors(self, slot: Slot) -> None:
        write_part(self._plan.slot_part(slot, "neighbors"), self._neighborhood.neighbors(slot))

    def write_peak_positions(self, layer: Layer) -> None:
        places = read_peak_positions(self._reader, layer, self._settings.min_images)
        columns = {
            "feature": places.features,
            "positions": lists(places.patches, pa.int32()),
            "at_cls": places.at_cls,
            "selectivity": known(places.selectivity),
        }
        write_part(self._plan.part(f"{layer}.places"), columns)

    @cached_property
    def _embeddings(self) -> Embeddings:
        return Embeddings(self._reader.embeddings())

    @cached_property
    def _words(self) -> Float32[np.ndarray, "word projection"]:
        """The words' vectors at unit length; an empty array if features get no names."""
        if self._plan.without_names:
            return np.empty((0, self._embeddings.width), np.float32)
        tower = TextEncoder.load(self._plan.text_folder)
        return word_vectors(tower, self._plan.vocabulary.words, self._settings.templates)

    @cached_property
    def _labels(self) -> Int32[np.ndarray, " image"]:
        """A number for each image's label, equal for equal labels; -1 for no label."""
        return self._by_image("CASE WHEN label IS NULL THEN -1 ELSE dense_rank() OVER (ORDER BY label) END")

    @cached_property
    def _near_duplicates(self) -> NearDuplicates:
        """The detector of near-duplicates; it recognizes identical files by their digests."""
        files = self._by_image("dense_rank() OVER (ORDER BY sha256)")
        limits = self._settings.fold_cosine, self._settings.fold_bits
        return NearDuplicates(self._embeddings, files, self._reader.thumb, *limits)

    def _by_image(self, sql: str) -> Int32[np.ndarray, " image"]:
        found: Int32[np.ndarray, " image"] = self._reader.columns(
            f"SELECT ({sql})::INTEGER AS n FROM images ORDER BY image_id"
        )["n"]
        return found

    def _large_index(self) -> Any:
        n_images = self._embeddings.n_images
        sample = np.arange(0, n_images, max(1, n_images // _SAMPLED))
        return large_index(self._embeddings.unit(sample), n_images)

    def _top_metrics(self, tops: SlotTopImages) -> tuple[Any, Any, Any]:
        """Clarity, label entropy and folds."""
        clear = clarity(tops, self._embeddings, self._settings.n_clarity)
        return clear, label_entropy(tops, self._labels), self._near_duplicates.folds(tops)

    def active_vectors(
        self, slot: Slot
    ) -> tuple[Int32[np.ndarray, " active"], Float32[np.ndarray, "active projection"]]:
        """The active features whose vector has a direction, and their vectors, one row each."""
        vectors = self._neighborhood.vectors(slot)
        active_vectors = np.any(vectors, axis=1)
        return self._neighborhood.active(slot)[active_vectors], vectors[active_vectors]
