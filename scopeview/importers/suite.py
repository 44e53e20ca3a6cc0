"""A suite: SAEs, one per layer, in a local folder or a Hugging Face repository, in any supported format.

Chooses the requested layers and the module that reads each format; those modules know the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch

from scopeview.errors import CheckpointError
from scopeview.hub import resolve
from scopeview.importers import (
    clipscope,
    daujotas,
    dictionary_learning,
    dncbm,
    msae,
    native,
    overcomplete,
    prisma,
    saelens,
    saev,
    sparsify,
    visaebench,
    vit_sae,
)
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


class Reader(Protocol):
    """The functions of a module that reads one format."""

    def patterns(self, layers: Sequence[Layer] | None) -> list[str]:
        """Patterns for the files of these layers in a repository of the Hugging Face Hub."""

    def find(self, root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
        """The SAEs of this format at or below a folder, or the one that `root` is the weight file of.

        `layers` are those asked for: the layer of a file that does not say its own.
        """

    def read(self, found: WeightFile, stated: Stated) -> SaeSource:
        """Checks a file without loading its weights. Raises `CheckpointError`."""

    def load(self, source: SaeSource) -> Loaded:
        """The weights. Raises `CheckpointError` for values that are not finite."""


READERS: dict[Format, Reader] = {
    "clip-scope": clipscope,
    "scopeview-sae": native,
    "saelens": saelens,
    "dictionary-learning": dictionary_learning,
    "prisma": prisma,
    "saev": saev,
    "sparsify": sparsify,
    "visaebench": visaebench,
    "vit-sae": vit_sae,
    "daujotas": daujotas,
    "msae": msae,
    "dn-cbm": dncbm,
    "overcomplete": overcomplete,
}
_CONFIG_NAMES = (CONFIG_NAME, "config.json")
_WEIGHT_SUFFIXES = (".pt", ".pth", ".safetensors", ".bin", ".pkl", ".gz", ".npz")
_SHOWN_FILES = 3
_EXPECTED = (
    "22_resid/1200013184.pt (CLIP-Scope), 22/cfg.json with 22/sae.safetensors (Scopeview), "
    "cfg.json with sae_weights.safetensors (SAELens), or a format of the table in docs/sae-format.md"
)


@dataclass(frozen=True)
class Suite:
    """The SAEs of a run, in the requested order. `repo_id` and `revision` are None for a local folder.

    `within` is the part of the repository that they were found in, if it was named.
    """

    ref: str
    repo_id: str | None
    revision: str | None
    sources: tuple[SaeSource, ...]
    within: str | None = None

    @property
    def layers(self) -> list[Layer]:
        return [source.layer for source in self.sources]


def read_suite(ref: str, layers: Sequence[Layer] | None = None, stated: Stated = NOTHING_STATED) -> Suite:
    """The SAEs for these layers (None: all in order of layers, `embed` last), checked but not loaded.

    `ref` is a folder, one file, or a Hugging Face id with an optional `@revision` and `:folder` or `:file`,
    of which only the files for the layers are downloaded. `stated` supplies what a file does not state. Reads
    every chosen file once, for its sha256. Raises `CheckpointError`.
    """
    patterns = dict.fromkeys(p for reader in READERS.values() for p in reader.patterns(layers))
    resolved = resolve(ref, patterns=list(patterns))
    found = list(_find(resolved.path, layers))
    chosen = _choose(ref, resolved.path, found, layers)
    sources = tuple(READERS[one.format].read(one, stated) for one in chosen)
    return Suite(ref, resolved.repo_id, resolved.revision, sources, resolved.within)


def load_sae(source: SaeSource, device: str | torch.device = "cpu") -> Sae:
    """Loads an SAE in fp32 onto `device`. Raises `CheckpointError` for weights that are not finite."""
    weights, standardization = READERS[source.format].load(source)
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
    if path.is_file() and path.name in _CONFIG_NAMES:
        beside = (found for reader in READERS.values() for found in reader.find(path.parent, layers))
        yield from (found for found in beside if found.path.parent == path.parent)
        return
    found = [found for reader in READERS.values() for found in reader.find(path, layers)]
    if found or not path.is_file():
        yield from found
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
