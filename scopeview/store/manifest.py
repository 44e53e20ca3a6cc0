"""`manifest.json`: what an index holds and where every number in it came from.

It is written last, so a folder with a manifest is a complete index. An unknown version is refused by name.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scopeview.errors import IndexFormatError
from scopeview.images import Grey16
from scopeview.sae.forms import Architecture, Normalization
from scopeview.sae.model_match import ModelMatch
from scopeview.slots import Layer, Slot, Token, slots_of
from scopeview.store.files import MANIFEST, read_sealed_json, write_sealed_json

FORMAT = "scopeview-index"
VERSION = 3
"""Version 1 had no describe stage; it is read as an index that was not described.
Version 2 had no checksums."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][\w.-]*$")]
"""A file in the index's folder itself."""
FilePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*$")]
"""A file at any depth below the index's folder, never outside it."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelRecord(_Record):
    """The CLIP model the images went through."""

    ref: str = Field(description="Hugging Face id or local folder, as given")
    revision: str | None = Field(description="commit hash of the download; None for a local folder")
    sha256: str = Field(description="of the weight file")
    n_layers: int
    width: int = Field(description="width of the residual stream")
    projection_dim: int
    image_px: int
    patch_px: int
    random_weights: bool = Field(description="True while nothing was trained: every page says so")
    preprocessing: dict[str, Any] = Field(description="resize, crop, mean and std that were applied")

    @property
    def grid_size(self) -> int:
        """The number of patches along one side of the image."""
        return self.image_px // self.patch_px

    @property
    def grey_16_bit(self) -> Grey16:
        """The conversion of 16-bit greyscale. Older indexes do not record it; theirs was "clipped"."""
        return "scaled" if self.preprocessing.get("grey_16_bit") == "scaled" else "clipped"


class SaeFigures(_Record):
    """Reconstruction metrics on sampled tokens of the indexed images, in the SAE's own input space."""

    explained_variance: float
    mse: float = Field(description="summed over dimensions, mean over tokens")
    l0: float = Field(description="mean number of features with a positive value at a token")
    n_tokens: int = Field(description="tokens the figures were measured on")


class TrainedOnRecord(_Record):
    """The model that an SAE's own file names, and whether it is the index's model."""

    name: str | None = Field(description="Hugging Face id or name, as the SAE's file has it")
    revision: str | None
    sha256: str | None = Field(description="of the weight file")
    match: ModelMatch = Field(
        description="same weights: the digests agree; same name; uncertain: the names differ; "
        "different: another model for certain, used because of --force-model"
    )


class LayerRecord(_Record):
    """One layer and the SAE that reads it."""

    layer: Layer
    sae: str = Field(description="Hugging Face id or local folder of the suite, as given")
    sae_revision: str | None
    sae_file: str = Field(description="the checkpoint inside the suite")
    sae_sha256: str
    architecture: Architecture
    d_in: int
    n_features: int
    k: int | None = Field(
        description="None for a ReLU or JumpReLU SAE, whose number of active features varies"
    )
    max_active: int | None = Field(
        default=None,
        description="without a k: features kept of a token at most, the strongest; None: all of them",
    )
    normalization: Normalization
    trained_on: TrainedOnRecord | None = Field(default=None, description="None: the SAE's file does not say")
    figures: SaeFigures | None = None


class VocabularyRecord(_Record):
    """The words that features were named after."""

    name: str = Field(description="name of the file")
    sha256: str
    n_words: int


class FileRecord(_Record):
    """The expected size and digest of a file."""

    size: int = Field(description="bytes")
    sha256: str = Field(description="as `sha256sum` prints it")


class DescribeRecord(_Record):
    """The output of the describe stage, and how it was made."""

    database: FileName = Field(description="file name of the DuckDB database beside the index's own")
    vocabulary: VocabularyRecord | None = Field(description="None: features have no names")
    without_names: str | None = Field(description="why they have none; None where they do")
    settings: dict[str, Any] = Field(description="every number that shapes the descriptions")
    cofiring_every: dict[Token, int] = Field(
        description="by token: images whose id this divides were counted for co-firing; 1: all of them"
    )


class Manifest(_Record):
    """The content of `manifest.json`."""

    format: Literal["scopeview-index"] = "scopeview-index"
    version: Literal[1, 2, 3] = 3
    scopeview: str = Field(description="version of the program that wrote the index")
    slug: str
    created: str = Field(description="UTC, ISO 8601, to the second")
    dataset: str = Field(description="the source the images came from, as given")
    source_kind: Literal["folder", "webdataset", "parquet"]
    database: FileName = Field(description="file name of the DuckDB database; it changes with its content")
    n_images: int
    skipped: dict[str, int] = Field(description="samples left out, by reason")
    model: ModelRecord
    layers: list[LayerRecord]
    tokens: list[Token]
    dtype: Literal["float32", "bfloat16"]
    device: str
    top_n: int = Field(description="images kept in each feature's own row")
    n_bins: int = Field(description="bins of each histogram, equal slices of (0, max]")
    thumb_px: int
    describe: DescribeRecord | None = Field(default=None, description="None: not described")

    files: dict[FilePath, FileRecord] | None = Field(
        default=None,
        description="all but this one and `run.json`, which hold their own sha256; None before version 3",
    )

    @cached_property
    def slots(self) -> list[Slot]:
        """Every slot of the index, in its order."""
        return slots_of([record.layer for record in self.layers], self.tokens)

    def layer(self, layer: Layer) -> LayerRecord | None:
        return next((record for record in self.layers if record.layer == layer), None)


def read_manifest(index_dir: Path) -> Manifest:
    """Reads a folder's manifest. Raises `IndexFormatError` if there is none that this program can read."""
    path = index_dir / MANIFEST
    try:
        return read_sealed_json(path, Manifest.model_validate)
    except (FileNotFoundError, NotADirectoryError):
        raise IndexFormatError(
            f"{index_dir} is no finished index: it has no {MANIFEST}; 'scopeview index --out' makes one"
        ) from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise IndexFormatError(
            f"{path}: {where}: {problem['msg']}; this program reads {FORMAT} versions 1 to {VERSION}"
        ) from error


def write_manifest(index_dir: Path, manifest: Manifest) -> None:
    write_sealed_json(index_dir / MANIFEST, manifest.model_dump(mode="json"))
