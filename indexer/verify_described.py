"""Verify, continued: do the descriptions agree with the index they describe?

Recomputes the metrics of some features of each slot in a simple way. Decoder rows are not checked: an index
does not contain them.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Float32

from indexer.describe.embeddings import Embeddings
from scopeview.errors import IndexFormatError
from scopeview.slots import ANY, Slot
from scopeview.store.files import slot_vectors
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.manifest import DescribeRecord
from scopeview.store.pack import open_npy
from scopeview.store.reader import IndexReader
from scopeview.store.records import Description, FeatureRecord

_SAMPLE = 12
_CLOSE = 2e-3  # what fp16 vectors may differ by

Vector = Float32[np.ndarray, " projection"]


class DescribedCheck:
    """Checks of a described index. Every method yields problems as sentences."""

    def __init__(self, reader: IndexReader, as_read: IndexReader) -> None:
        """`reader` queries the databases alone; `as_read` reads like any other caller."""
        self._reader, self._as_read = reader, as_read

    def counts(self, slot: Slot) -> Iterator[str]:
        """Checks that there is a row for every live feature, and a vector for every feature."""
        (n,) = self._reader.sql(
            f"SELECT count(*) FROM described.features WHERE {IN_SLOT}", slot_values(slot)
        )[0]
        live = self._reader.summary(slot).n_live
        if n != live:
            yield f"{n} features are described, {live} fire"
        record = self._reader.manifest.layer(slot.layer)
        shape = open_npy(slot_vectors(self._reader.index_dir, slot)).shape
        if record is None or shape != (record.n_features, self._reader.manifest.model.projection_dim):
            yield f"its vectors have shape {shape}"

    def samples(self, slot: Slot) -> Iterator[str]:
        """Checks that the metrics of some active features follow from the index."""
        vectors = open_npy(slot_vectors(self._reader.index_dir, slot))
        for card in self._reader.gallery(slot, sort="random", limit=_SAMPLE).cards:
            feature = self._reader.feature(slot.layer, card.feature, slot.token)
            described = self._reader.description(slot, card.feature)
            assert described is not None
            vector = vectors[card.feature].astype(np.float32)
            for problem in (
                *self._vector(feature, vector),
                *self._tops(feature, described),
                *self._names(described, vector),
                *self._places(slot, feature, described),
                *self._cofiring(slot, feature, described),
            ):
                yield f"feature {card.feature}: {problem}"

    def rows(self, slot: Slot) -> Iterator[str]:
        """Checks that the stored rows of some features, live or not, agree with the databases."""
        record = self._reader.manifest.layer(slot.layer)
        assert record is not None
        for feature in range(0, record.n_features, max(1, record.n_features // _SAMPLE)):
            said, read = (_said(reader, slot, feature) for reader in (self._reader, self._as_read))
            if said != read:
                yield f"feature {feature}: its row does not say what the databases say"

    def _vector(self, feature: FeatureRecord, vector: Vector) -> Iterator[str]:
        weights = np.array([top.activation for top in feature.top_images], np.float64)
        units = self._units(feature, len(weights))
        expected = (weights[:, None] * units).sum(axis=0) / weights.sum() - self._embeddings.mean
        if np.abs(vector - expected / max(float(np.linalg.norm(expected)), 1e-6)).max() > _CLOSE:
            yield "its vector is not that of its top images"

    def _tops(self, feature: FeatureRecord, described: Description) -> Iterator[str]:
        units = self._units(feature, int(self._record.settings["n_clarity"]))
        cosines = [float(a @ b) for a, b in combinations(units, 2)]
        if described.clarity is None or abs(described.clarity - float(np.mean(cosines))) > _CLOSE:
            yield f"its clarity is {described.clarity}, its images say {np.mean(cosines):.4f}"
        ranks = range(1, len(feature.top_images) + 1)
        if len(described.folds) != len(ranks) or any(
            not 1 <= first <= rank or described.folds[first - 1] != first
            for rank, first in zip(ranks, described.folds, strict=True)
        ):
            yield f"its folds {described.folds} do not each name the first of their sort"

    def _names(self, described: Description, vector: Vector) -> Iterator[str]:
        words, embeddings = self._words
        if not words:
            return
        cosines = embeddings @ vector
        for name in described.names:
            if abs(name.score - float(cosines[words.index(name.word)])) > _CLOSE:
                yield f"the name {name.word!r} does not have the score {name.score:.4f}"
        if vector.any() and (not described.names or described.names[0].score < cosines.max() - _CLOSE):
            yield f"its best name would be {words[int(cosines.argmax())]!r}"

    def _places(self, slot: Slot, feature: FeatureRecord, described: Description) -> Iterator[str]:
        if slot.token != ANY:
            return
        placed = sum(described.positions or []) + (described.at_cls or 0)
        if placed != feature.n_active:
            yield f"it fires on {feature.n_active} images and has a place on {placed}"

    def _cofiring(self, slot: Slot, feature: FeatureRecord, described: Description) -> Iterator[str]:
        own = self._images(slot, feature.feature)
        for neighbor in (*described.within, *described.across):
            if neighbor.kind == "cofiring":
                other = self._images(Slot(neighbor.layer, slot.token), neighbor.feature)
                expected = len(own & other) / len(own | other)
                if abs(neighbor.score - expected) > _CLOSE:
                    yield f"it fires with {neighbor.layer}/{neighbor.feature} on {expected:.4f} of either's"

    def _images(self, slot: Slot, feature: int) -> set[int]:
        """The counted images on which the feature fires."""
        rows = self._reader.sql(
            f"SELECT image_id FROM activations WHERE {IN_SLOT} AND feature = $feature"
            " AND image_id % $every = 0",
            {**slot_values(slot), "feature": feature, "every": self._record.cofiring_every[slot.token]},
        )
        return {image_id for (image_id,) in rows}

    @cached_property
    def _record(self) -> DescribeRecord:
        record = self._reader.manifest.describe
        assert record is not None
        return record

    @cached_property
    def _embeddings(self) -> Embeddings:
        rows = self._reader.embeddings()
        n_images = self._reader.manifest.n_images
        if len(rows) != n_images:
            raise IndexFormatError(f"the shards hold embeddings of {len(rows)} images, there are {n_images}")
        return Embeddings(rows)

    @cached_property
    def _words(self) -> tuple[list[str], Float32[np.ndarray, "word projection"]]:
        """The words and their embeddings; none if features have no names."""
        rows = self._reader.sql("SELECT word, embedding FROM described.words")
        width = self._embeddings.width
        table = np.array([row[1] for row in rows], np.float32).reshape(len(rows), width)
        return [row[0] for row in rows], table

    def _units(self, feature: FeatureRecord, n: int) -> Float32[np.ndarray, "image projection"]:
        """The unit embeddings of the feature's first n top images."""
        return self._embeddings.unit(np.array([top.image_id for top in feature.top_images[:n]]))


def _said(reader: IndexReader, slot: Slot, feature: int) -> str:
    """The reader's answers as text, so that a NaN equals itself."""
    record = reader.feature(slot.layer, feature, slot.token)
    return repr((record, reader.description(slot, feature), reader.intervals(slot, feature)))
