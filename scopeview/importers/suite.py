"""A suite: SAEs, one per layer, in a local folder or a Hugging Face repository, in any supported format.

Chooses the requested layers and the module that reads each format; those modules know the rest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from scopeview.errors import CheckpointError
from scopeview.hub import resolve
from scopeview.importers import clipscope, native, saelens
from scopeview.importers.file_kind import file_kind
from scopeview.importers.source import (
    CONFIG_NAME,
    NOTHING_STATED,
    Format,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
)
from scopeview.sae.autoencoder import Sae, SaeConfig
from scopeview.slots import EMBED, Layer

_READ: dict[Format, Callable[[WeightFile, Stated], SaeSource]] = {
    "clip-scope": clipscope.read,
    "scopeview-sae": native.read,
    "saelens": saelens.read,
}
_LOAD: dict[Format, Callable[[SaeSource], Loaded]] = {
    "clip-scope": clipscope.load,
    "scopeview-sae": native.load,
    "saelens": saelens.load,
}
_WEIGHT_SUFFIXES = (".pt", ".pth", ".safetensors", ".bin", ".pkl", ".npz")
_SHOWN_FILES = 3
_EXPECTED = (
    "22_resid/1200013184.pt (CLIP-Scope), 22/cfg.json with 22/sae.safetensors (Scopeview), "
    "or cfg.json with sae_weights.safetensors (SAELens); docs/sae-format.md has them in full"
)


@dataclass(frozen=True)
class Suite:
    """The SAEs of a run, in the requested order. `repo_id` and `revision` are None for a local folder."""

    ref: str
    repo_id: str | None
    revision: str | None
    sources: tuple[SaeSource, ...]

    @property
    def layers(self) -> list[Layer]:
        return [source.layer for source in self.sources]


def read_suite(ref: str, layers: Sequence[Layer] | None = None, stated: Stated = NOTHING_STATED) -> Suite:
    """The SAEs for these layers (None: all in order of layers, `embed` last), checked but not loaded.

    `ref` is a folder, one file, or a Hugging Face id with an optional `@revision`, of which only the files
    for the layers are downloaded. `stated` supplies what a file does not state. Reads every chosen file once,
    for its sha256. Raises `CheckpointError`.
    """
    formats = (clipscope, native, saelens)
    resolved = resolve(ref, patterns=[p for module in formats for p in module.patterns(layers)])
    found = list(_find(resolved.path, layers))
    chosen = _choose(ref, resolved.path, found, layers)
    sources = tuple(_READ[one.format](one, stated) for one in chosen)
    return Suite(ref, resolved.repo_id, resolved.revision, sources)


def load_sae(source: SaeSource, device: str | torch.device = "cpu") -> Sae:
    """Loads an SAE in fp32 onto `device`. Raises `CheckpointError` for weights that are not finite."""
    weights, standardization = _LOAD[source.format](source)
    sae = Sae(source.config, weights, standardization)
    return sae.to(device)


def check_fits(config: SaeConfig, width: int) -> None:
    """Refuses an SAE whose input width is not that of its layer (for `embed`, the model's projection)."""
    if config.d_in != width:
        raise CheckpointError(
            f"{config.source} takes {config.d_in} dimensions, but layer {config.layer} of the model has "
            f"{width}; expected an SAE that was trained on this model"
        )


def _find(path: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """All SAEs in a folder; for a file, the one SAE it belongs to."""
    if not path.is_file():
        for module in (clipscope, native, saelens):
            yield from module.find(path)
    elif path.name in (CONFIG_NAME, native.WEIGHTS_NAME, saelens.WEIGHTS_NAME):
        beside = (found for module in (native, saelens) for found in module.find(path.parent))
        yield from (found for found in beside if found.path.parent == path.parent)
    elif path.suffix == ".safetensors":
        raise CheckpointError(
            f"{path} is {file_kind(path)}; expected {native.WEIGHTS_NAME} (Scopeview) or "
            f"{saelens.WEIGHTS_NAME} (SAELens) with {CONFIG_NAME} beside it"
        )
    else:
        yield clipscope.find_file(path, layers)


def _choose(
    ref: str, root: Path, found: Sequence[WeightFile], layers: Sequence[Layer] | None
) -> list[WeightFile]:
    if not found:
        raise CheckpointError(f"no SAE found in {ref}{_what_is_there(root)}; expected {_EXPECTED}")
    by_layer: dict[Layer, list[WeightFile]] = {}
    for one in sorted(found, key=lambda f: _position(f.layer)):
        by_layer.setdefault(one.layer, []).append(one)
    return [_only(ref, by_layer, layer) for layer in (by_layer if layers is None else layers)]


def _only(ref: str, by_layer: dict[Layer, list[WeightFile]], layer: Layer) -> WeightFile:
    if layer not in by_layer:
        raise CheckpointError(
            f"{ref} has no SAE for layer {layer}; it has layers {', '.join(map(str, by_layer))}"
        )
    candidates = by_layer[layer]
    if len(candidates) > 1:
        names = ", ".join(str(one.path) for one in candidates)
        raise CheckpointError(
            f"{ref} has several SAEs for layer {layer}: {names}; expected one: give --sae one of these files"
        )
    return candidates[0]


def _what_is_there(root: Path) -> str:
    """Describes a folder's weight files for a message: ` (ae.pt is a PyTorch ...)`; empty for a file."""
    if root.is_file():
        return ""
    files = (path for path in sorted(root.rglob("*")) if path.suffix in _WEIGHT_SUFFIXES and path.is_file())
    seen = [f"{path.relative_to(root)} is {file_kind(path)}" for path in islice(files, _SHOWN_FILES)]
    return f" ({'; '.join(seen)})" if seen else ""


def _position(layer: Layer) -> tuple[bool, int]:
    return (True, 0) if layer == EMBED else (False, layer)
