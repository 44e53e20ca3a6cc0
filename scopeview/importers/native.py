"""Scopeview's own SAE format: a folder with `cfg.json` and `sae.safetensors`.

A suite has one such folder per layer, named `5` or `embed`. Tensors: pre_b [d_in], enc [d_in, n_features],
dec [n_features, d_in], and if they apply enc_b [n_features], threshold [n_features], input_mean [d_in],
input_std [d_in]. The config's fields are those of `NativeConfig`; any other field is provenance, kept for
people and ignored here. Version 2 has every architecture and normalisation; files that need no more than
version 1 has are still written as such, so that older programs read them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors.torch import save_file

from scopeview.errors import CheckpointError
from scopeview.importers.source import (
    CONFIG_NAME,
    SIGNED,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    WholeNumber,
    check_finite,
    check_groups,
    check_k,
    check_stated,
    check_tensors,
    folder_patterns,
    read_config,
    read_header,
    read_json,
    read_tensors,
)
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.forms import MEASURED, Architecture, Normalization
from scopeview.sae.model_match import TrainedOn
from scopeview.sae.normalization import Standardization
from scopeview.slots import Embed, Layer
from scopeview.store.files import atomic_write, file_sha256, write_json

FORMAT: Literal["scopeview-sae"] = "scopeview-sae"
EPS = 1e-6
WEIGHTS_NAME = "sae.safetensors"
_STATISTICS = ("input_mean", "input_std")

Size = Annotated[WholeNumber, Field(ge=1)]


class NativeModel(BaseModel):
    """The model that the SAE was trained on: with a `revision`, `ref` is a Hugging Face id."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    ref: str | None = None
    revision: str | None = None
    sha256: str | None = None

    @property
    def trained_on(self) -> TrainedOn:
        name = self.ref if self.revision or not self.ref else Path(self.ref).name
        return TrainedOn(name, self.revision, self.sha256)


class NativeConfig(BaseModel):
    """The content of `cfg.json`. Mean and std were computed from `n_calibration_tokens` tokens.

    `input_eps` is added to the std. The fields after `model` are those of version 2.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    format: Literal["scopeview-sae"]
    version: Literal[1, 2]
    architecture: Architecture
    layer: Annotated[WholeNumber, Field(ge=0)] | Embed
    d_in: Size
    n_features: Size
    k: WholeNumber | None = None
    normalization: Normalization
    relu_after_topk: bool = False
    subtract_pre_b: bool = True
    n_calibration_tokens: Annotated[int, Field(ge=0)] = 0
    model: NativeModel | None = None
    soft_cap: Annotated[float, Field(gt=0)] | None = None
    input_eps: Annotated[float, Field(ge=0)] = EPS

    @model_validator(mode="after")
    def _check_version(self) -> "NativeConfig":
        beyond = [name for name, value in self._of_version_2().items() if value]
        if self.version == 1 and beyond:
            raise ValueError(f"version 1 has no {', '.join(beyond)}; expected version 2")
        return self

    def _of_version_2(self) -> dict[str, bool]:
        return {
            f"architecture {self.architecture!r}": self.architecture not in ("topk", "relu"),
            f"normalization {self.normalization!r}": self.normalization not in ("none", "standardize"),
            "soft_cap": self.soft_cap is not None,
            f"input_eps other than {EPS:g}": self.input_eps != EPS,
        }

    @property
    def needs_version_2(self) -> bool:
        return any(self._of_version_2().values())


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return folder_patterns(layers, (CONFIG_NAME, WEIGHTS_NAME))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every folder of this format at or directly below `root`."""
    del layers  # the config has it
    if root.is_file():
        if root.name == WEIGHTS_NAME:
            yield from (one for one in find(root.parent, None) if one.path == root)
        return
    for path in [root / CONFIG_NAME, *sorted(root.glob(f"*/{CONFIG_NAME}"))]:
        if path.is_file() and read_json(path).get("format") == FORMAT:
            config = read_config(path, NativeConfig)
            weights = path.with_name(WEIGHTS_NAME)
            if not weights.is_file():
                raise CheckpointError(f"{path} has no {WEIGHTS_NAME} beside it")
            yield WeightFile(FORMAT, config.layer, weights, weights.relative_to(root).as_posix())


def read(found: WeightFile, stated: Stated) -> SaeSource:
    path = found.path
    config = read_config(path.with_name(CONFIG_NAME), NativeConfig)
    header = read_header(path)
    shapes: dict[str, tuple[int, ...]] = {
        "pre_b": (config.d_in,),
        "enc": (config.d_in, config.n_features),
        "dec": (config.n_features, config.d_in),
    }
    if config.normalization in MEASURED:
        shapes |= dict.fromkeys(_STATISTICS, (config.d_in,))
    if "enc_b" in header:
        shapes["enc_b"] = (config.n_features,)
    if config.architecture == "jumprelu":
        shapes["threshold"] = (config.n_features,)
    check_tensors(path, header, shapes)
    k = _k_of(path.with_name(CONFIG_NAME), config, stated)
    trained_on = config.model.trained_on if config.model else None
    remarks = (SIGNED,) if config.architecture == "abstopk" else ()
    return SaeSource(FORMAT, path, _sae_config(config, found, k), trained_on, remarks=remarks)


def _k_of(path: Path, config: NativeConfig, stated: Stated) -> int | None:
    if config.architecture in ("relu", "jumprelu"):
        check_stated(path, stated, config.architecture, None)
        return None
    k = check_k(path, stated.k if config.k is None else config.k, config.n_features)
    check_stated(path, stated, config.architecture, k)
    if config.architecture == "groupmax":
        check_groups(path, k, config.n_features)
    return k


def load(source: SaeSource) -> Loaded:
    tensors = read_tensors(source.path, read_header(source.path))
    check_finite(source.path, tensors)
    mean, std = (tensors.pop(name, None) for name in _STATISTICS)
    if mean is None or std is None:
        return Loaded(Weights(**tensors))
    if not bool((std > 0).all()):
        first = int((std <= 0).nonzero()[0])
        raise CheckpointError(
            f"{source.path}: input_std is {std[first].item():g} in dimension {first}; expected standard "
            "deviations above 0"
        )
    config = read_config(source.path.with_name(CONFIG_NAME), NativeConfig)
    stats = Standardization(mean, std, config.n_calibration_tokens, config.input_eps)
    return Loaded(Weights(**tensors), stats)


def save(sae: Sae, folder: Path, provenance: Mapping[str, object] | None = None) -> Path:
    """Writes `cfg.json` and `sae.safetensors` into `folder`; the config last, since it marks an SAE."""
    folder.mkdir(parents=True, exist_ok=True)
    stats = sae.standardization
    tensors = dict(sae.named_buffers())
    if stats is not None:
        tensors |= {"input_mean": stats.mean, "input_std": stats.std}
    with atomic_write(folder / WEIGHTS_NAME) as part:
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, part)
    config = NativeConfig(
        format=FORMAT,
        version=2,
        n_calibration_tokens=stats.n_tokens if stats is not None else 0,
        input_eps=stats.eps if stats is not None else EPS,
        **{name: getattr(sae.config, name) for name in _SHARED},
    )
    unsaid = {"model"}
    if not config.needs_version_2:
        config, unsaid = config.model_copy(update={"version": 1}), {"model", "soft_cap", "input_eps"}
    write_json(folder / CONFIG_NAME, {**(provenance or {}), **config.model_dump(exclude=unsaid)})
    return folder


# The fields that the config file and `SaeConfig` have in common, under one name.
_SHARED = (
    "architecture",
    "layer",
    "d_in",
    "n_features",
    "k",
    "normalization",
    "relu_after_topk",
    "subtract_pre_b",
    "soft_cap",
)


def _sae_config(config: NativeConfig, found: WeightFile, k: int | None) -> SaeConfig:
    shared = {name: getattr(config, name) for name in _SHARED} | {"k": k}
    return SaeConfig(**shared, source=found.name, sha256=file_sha256(found.path))
