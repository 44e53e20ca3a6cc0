"""The plan of a describe stage: its words and weights, and where each part is written."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from indexer.build import work_dir
from scopeview.model_spec import Recipe
from scopeview.slots import Layer, Slot, Token
from scopeview.store.manifest import DescribeRecord, Manifest, VocabularyRecord
from scopeview.store.records import MIN_GRID_IMAGES
from scopeview.vision.text import text_folder
from scopeview.vision.vocabulary import Vocabulary


@dataclass(frozen=True)
class DescribeSettings:
    """The settings of a describe stage. Equal settings, vocabulary and index give equal descriptions."""

    version: int = 1  # of the code that works the descriptions out
    min_images: int = MIN_GRID_IMAGES  # a feature that fires on fewer is given no names, neighbors or place
    n_clarity: int = 9  # top images whose likeness is the clarity
    n_names: int = 5
    templates: tuple[str, ...] = ("{}", "a picture of {}", "a photo of {}")
    fold_cosine: float = 0.9  # two images are nearly the same when their embeddings are at least so alike
    fold_bits: int = 10  # and their 64-bit perceptual hashes differ in at most so many bits
    n_within: int = 8  # neighbors of each kind in the same layer
    n_across: int = 3  # neighbors of each kind in each other layer
    cofiring_products: int = 10_000_000_000  # a pair of layers; past it only every n-th image is counted
    perplexity: int = 30  # about how many neighbors a point of the map keeps
    map_iterations: int = 750
    seed: int = 0


@dataclass(frozen=True)
class DescribePlan:
    """One describe stage over one built index."""

    index_dir: Path
    manifest: Manifest  # whether it has been described before does not matter
    recipe: Recipe
    vocabulary: Vocabulary
    without_names: str | None  # why no feature will be named; None where they will be
    settings: DescribeSettings = field(default_factory=DescribeSettings)

    @cached_property
    def digest(self) -> str:
        """A digest that names the output: it differs for another database, other words or other settings."""
        what = [self.manifest.database, self.vocabulary.sha256, asdict(self.settings)]
        return sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def database(self) -> Path:
        return self.index_dir / f"described-{self.digest}.duckdb"

    @property
    def undescribed(self) -> Manifest:
        """The manifest without descriptions, for opening the index while they are being made."""
        return self.manifest.model_copy(update={"describe": None, "files": None})

    @property
    def slots(self) -> list[Slot]:
        return self.manifest.slots

    @property
    def tokens(self) -> list[Token]:
        """The distinct tokens of all slots, in the index's order."""
        return list(dict.fromkeys(slot.token for slot in self.slots))

    def others(self, slot: Slot) -> list[Slot]:
        """The other layers' slots at the same token."""
        return [other for other in self.slots if other.token == slot.token and other.layer != slot.layer]

    def at_token(self, token: Token) -> list[Slot]:
        return [slot for slot in self.slots if slot.token == token]

    def n_features(self, layer: Layer) -> int:
        record = self.manifest.layer(layer)
        assert record is not None
        return record.n_features

    def part(self, name: str) -> Path:
        """The Parquet file that stores a finished part of the work until all parts are done."""
        return work_dir(self.index_dir) / f"describe-{self.digest}" / f"{name}.parquet"

    def slot_part(self, slot: Slot, name: str) -> Path:
        return self.part(f"{slot.name}.{name}")

    @cached_property
    def text_folder(self) -> Path:
        """The model's folder with its tokenizer, downloaded if needed."""
        return text_folder(self.recipe.model)

    def record(self, cofiring_every: dict[Token, int]) -> DescribeRecord:
        """The record of this stage for the manifest."""
        vocabulary = self.vocabulary
        named = VocabularyRecord(
            name=vocabulary.name, sha256=vocabulary.sha256, n_words=len(vocabulary.words)
        )
        return DescribeRecord(
            database=self.database.name,
            vocabulary=None if self.without_names else named,
            without_names=self.without_names,
            settings=json.loads(json.dumps(asdict(self.settings))),
            cofiring_every=cofiring_every,
        )
