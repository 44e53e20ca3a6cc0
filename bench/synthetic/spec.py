"""The specification of a synthetic index, and the manifest that describes it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from indexer.build import N_BINS, TOP_N, LayerWidth
from scopeview import __version__
from scopeview.errors import ConfigMismatchError
from scopeview.slots import Layer, Slot, Token, slots_of
from scopeview.store.files import write_json
from scopeview.store.manifest import LayerRecord, Manifest, ModelRecord

RECORD = "synthetic.json"
D_IN, N_BLOCKS, IMAGE_PX, PATCH_PX = 1024, 24, 224, 14
NO_WEIGHTS = "0" * 64


@dataclass(frozen=True)
class Spec:
    """The size and shape of a synthetic index. Equal specs make equal indexes."""

    n_images: int
    layers: Sequence[int]
    tokens: Sequence[Token]
    n_features: int
    k: int
    images_per_shard: int = 10_000
    projection_dim: int = 768
    own_grids: bool = False  # made of each feature's own images, as an index has them: a core-hour a million
    seed: int = 0

    @property
    def slots(self) -> list[Slot]:
        return slots_of(self.layers, self.tokens)

    @property
    def shard_sizes(self) -> list[int]:
        whole, rest = divmod(self.n_images, self.images_per_shard)
        return [self.images_per_shard] * whole + [rest] * bool(rest)

    @property
    def widths(self) -> dict[Layer, LayerWidth]:
        return {layer: LayerWidth(self.n_features, self.k) for layer in self.layers}

    @property
    def database(self) -> str:
        return f"scope-{sha256(json.dumps(_plain(self), sort_keys=True).encode()).hexdigest()[:12]}.duckdb"


def claim(index_dir: Path, spec: Spec) -> None:
    """Claims the folder for this spec. Raises `ConfigMismatchError` if it belongs to another one."""
    path = index_dir / RECORD
    if not path.exists():
        write_json(path, _plain(spec))
    elif (found := json.loads(path.read_bytes())) != _plain(spec):
        raise ConfigMismatchError(f"{path} was begun as {found}; choose another folder, or remove this one")


def read_spec(index_dir: Path) -> Spec:
    """Returns the spec that the folder was begun with."""
    return Spec(**json.loads((index_dir / RECORD).read_bytes()))


def manifest_of(spec: Spec, slug: str) -> Manifest:
    return Manifest(
        scopeview=__version__,
        slug=slug,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=f"synthetic-{spec.n_images}",
        source_kind="webdataset",
        database=spec.database,
        n_images=spec.n_images,
        skipped={},
        model=_model(spec),
        layers=[_layer(spec, layer) for layer in spec.layers],
        tokens=list(spec.tokens),
        dtype="bfloat16",
        device="cpu",
        top_n=TOP_N,
        n_bins=N_BINS,
        thumb_px=IMAGE_PX,
    )


def _model(spec: Spec) -> ModelRecord:
    """Returns a record with ViT-L/14's shape; `random_weights` makes pages say that nothing was trained."""
    return ModelRecord(
        ref="synthetic",
        revision=None,
        sha256=NO_WEIGHTS,
        n_layers=N_BLOCKS,
        width=D_IN,
        projection_dim=spec.projection_dim,
        image_px=IMAGE_PX,
        patch_px=PATCH_PX,
        random_weights=True,
        preprocessing={},
    )


def _layer(spec: Spec, layer: Layer) -> LayerRecord:
    return LayerRecord(
        layer=layer,
        sae="synthetic",
        sae_revision=None,
        sae_file=f"{layer}_resid",
        sae_sha256=NO_WEIGHTS,
        architecture="topk",
        d_in=D_IN,
        n_features=spec.n_features,
        k=spec.k,
        normalization="none",
    )


def _plain(spec: Spec) -> dict[str, object]:
    """Returns the spec as JSON reads it back."""
    plain: dict[str, object] = json.loads(json.dumps(asdict(spec)))
    return plain
