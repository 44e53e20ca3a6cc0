"""The state of a running server: settings, open indexes, uploads and the inference worker."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from app.engine.fair_share import FairLimiter
from app.engine.preview_cache import Previews
from app.engine.text_encoders import TextEncoders
from app.engine.worker import Worker
from app.formatting import UNSAFE_ABOVE, is_unsafe
from app.moderation.blocklist import BlockList
from app.moderation.reader import ModeratedReader
from app.moderation.reports import Reports
from app.settings import Settings
from app.uploads.decoding import Decoder
from app.uploads.rate_limit import UploadPlaces, UploadRate
from app.uploads.store import UploadStore
from app.urls import Urls
from app.web.metrics import Metrics
from scopeview.errors import IndexFormatError
from scopeview.slots import EMBED, Layer, Slot, Token
from scopeview.store.manifest import Manifest
from scopeview.store.reader import IndexReader
from scopeview.store.records import SlotSummary
from scopeview.store.slug import check_slug


@dataclass(frozen=True)
class OpenIndex:
    """One index that is being served."""

    reader: ModeratedReader
    summaries: dict[Slot, SlotSummary] = field(repr=False)
    unsafe_above: float = UNSAFE_ABOVE  # images whose `punsafe` is above it are blurred until clicked

    @property
    def manifest(self) -> Manifest:
        return self.reader.manifest

    @cached_property
    def slug(self) -> str:
        return self.manifest.slug

    @cached_property
    def version(self) -> str:
        """Changes when the index is rebuilt or described again, since the databases' names do."""
        describe = self.manifest.describe
        made_of = f"{self.manifest.database} {describe.database if describe else ''}"
        return hashlib.sha256(made_of.encode()).hexdigest()[:12]

    @cached_property
    def layers(self) -> list[Layer]:
        return list(dict.fromkeys(slot.layer for slot in self.manifest.slots))

    @property
    def blocks(self) -> list[Layer]:
        """The layers that have patches: all but the final embedding."""
        return [layer for layer in self.layers if layer != EMBED]

    @property
    def deepest_layer(self) -> Layer:
        """The last block, where features are most about things; without blocks, the last layer."""
        return (self.blocks or self.layers)[-1]

    def tokens(self, layer: Layer) -> list[Token]:
        """Returns the tokens of a layer in index order; empty for an unknown layer."""
        return [slot.token for slot in self.manifest.slots if slot.layer == layer]

    def slot_at(self, layer: Layer, token: Token) -> Slot:
        """Returns the slot at that token, or at the layer's first if it lacks that token (the embedding)."""
        tokens = self.tokens(layer)
        return Slot(layer, token if token in tokens else tokens[0])

    def slots_at(self, token: Token, layer: Layer | None = None) -> list[Slot]:
        """Returns one slot per layer, as `slot_at` does; `layer` None means all layers."""
        return [self.slot_at(each, token) for each in (self.layers if layer is None else [layer])]

    def is_unsafe(self, punsafe: float | None) -> bool:
        return is_unsafe(punsafe, self.unsafe_above)

    def grid_version(self, image_ids: Iterable[int]) -> str:
        """Returns the version for the URL of a grid; it differs while the block-list covers a cell."""
        return self.reader.grid_version(self.version, image_ids)

    def n_features(self, layer: Layer) -> int:
        record = self.manifest.layer(layer)
        return record.n_features if record else 0


@dataclass(frozen=True)
class AppState:
    """Everything a request may reach."""

    settings: Settings
    indexes: dict[str, OpenIndex]
    uploads: UploadStore
    upload_rate: UploadRate
    upload_places: UploadPlaces
    decoder: Decoder
    decode_places: FairLimiter
    worker: Worker
    model_places: FairLimiter  # for views that run the model
    texts: TextEncoders
    reports: Reports
    previews: Previews
    metrics: Metrics

    @cached_property
    def json_urls(self) -> Urls:
        return Urls(self.settings.base_url)


def open_indexes(
    index_dirs: Iterable[Path],
    *,
    blocklist: BlockList | None = None,
    unsafe_above: float = UNSAFE_ABOVE,
) -> dict[str, OpenIndex]:
    """Opens indexes, by slug in the order given. Raises `IndexFormatError` for two of one slug.

    If one cannot be opened, all are closed.
    """
    opened: dict[str, OpenIndex] = {}
    try:
        for index_dir in index_dirs:
            reader = ModeratedReader(index_dir, blocklist)
            index = OpenIndex(reader, _summaries(reader), unsafe_above)
            earlier = opened.setdefault(reader.manifest.slug, index)
            _check_slug(reader, earlier)
    except BaseException:
        close_indexes(opened)
        raise
    return opened


def close_indexes(opened: dict[str, OpenIndex]) -> None:
    for index in opened.values():
        index.reader.close()


def _summaries(reader: IndexReader) -> dict[Slot, SlotSummary]:
    return {slot: reader.summary(slot) for slot in reader.manifest.slots}


def _check_slug(reader: IndexReader, earlier: OpenIndex) -> None:
    slug = reader.manifest.slug
    if earlier.reader is not reader:
        reader.close()
        raise IndexFormatError(
            f"{earlier.reader.index_dir} and {reader.index_dir} are both called {slug!r}, which is the first"
            " segment of an index's URLs: serve one of them, or build one again with --slug"
        )
    check_slug(slug)
