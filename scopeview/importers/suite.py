"""A suite: the SAEs, one a layer, in a local folder or a Hugging Face repository, of whatever format.

Knows how to choose the layers asked for and which module reads which format; the formats know the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from scopeview.errors import CheckpointError
from scopeview.hub import resolve
from scopeview.importers import clipscope, native, saelens
from scopeview.importers.source import NOTHING_STATED, Format, Found, Loaded, SaeSource, Stated
from scopeview.sae import Sae, SaeConfig
from scopeview.slots import EMBED, Layer

_READ: dict[Format, Callable[[Found, Stated], SaeSource]] = {
    "clip-scope": clipscope.read,
    "scopeview-sae": native.read,
    "saelens": saelens.read,
}
_LOAD: dict[Format, Callable[[SaeSource], Loaded]] = {
    "clip-scope": clipscope.load,
    "scopeview-sae": native.load,
    "saelens": saelens.load,
}
_EXPECTED = (
    "22_resid/1200013184.pt (CLIP-Scope), 22/cfg.json with 22/sae.safetensors (Scopeview), "
    "or cfg.json with sae_weights.safetensors (SAELens)"
)


@dataclass(frozen=True)
class Suite:
    """The SAEs of a run, in the order asked for. `repo_id` and `revision` are None for a local folder."""

    ref: str
    repo_id: str | None
    revision: str | None
    sources: tuple[SaeSource, ...]

    @property
    def layers(self) -> list[Layer]:
        return [source.layer for source in self.sources]


def read_suite(ref: str, layers: Sequence[Layer] | None = None, stated: Stated = NOTHING_STATED) -> Suite:
    """The SAEs for these layers (None: all there are, by layer, `embed` last), checked but not loaded.

    `ref` is a folder, one `.pt` file, or a Hugging Face id with an optional `@revision`, of which only what
    the layers need is downloaded. `stated` fills in what a file does not say. Reads every chosen file once,
    for its sha256. Raises `CheckpointError`.
    """
    formats = (clipscope, native, saelens)
    resolved = resolve(ref, patterns=[p for module in formats for p in module.patterns(layers)])
    readers = (clipscope,) if resolved.path.is_file() else formats
    found = [f for module in readers for f in module.find(resolved.path)]
    chosen = _choose(ref, found, layers)
    sources = tuple(_READ[one.format](one, stated) for one in chosen)
    return Suite(ref, resolved.repo_id, resolved.revision, sources)


def load_sae(source: SaeSource, device: str | torch.device = "cpu") -> Sae:
    """The SAE in fp32 on `device`. Raises `CheckpointError` for weights that are not finite."""
    weights, standardization = _LOAD[source.format](source)
    sae = Sae(source.config, weights, standardization)
    return sae.to(device)


def check_fits(config: SaeConfig, width: int) -> None:
    """Refuses an SAE whose input is not as wide as its layer (for `embed`, the model's projection)."""
    if config.d_in != width:
        raise CheckpointError(
            f"{config.source} takes {config.d_in} dimensions, but layer {config.layer} of the model has "
            f"{width}; expected an SAE that was trained on this model"
        )


def _choose(ref: str, found: Sequence[Found], layers: Sequence[Layer] | None) -> list[Found]:
    if not found:
        raise CheckpointError(f"no SAE found in {ref}; expected {_EXPECTED}")
    by_layer: dict[Layer, list[Found]] = {}
    for one in sorted(found, key=lambda f: _position(f.layer)):
        by_layer.setdefault(one.layer, []).append(one)
    return [_only(ref, by_layer, layer) for layer in (by_layer if layers is None else layers)]


def _only(ref: str, by_layer: dict[Layer, list[Found]], layer: Layer) -> Found:
    if layer not in by_layer:
        raise CheckpointError(
            f"{ref} has no SAE for layer {layer}; it has layers {', '.join(map(str, by_layer))}"
        )
    candidates = by_layer[layer]
    if len(candidates) > 1:
        names = ", ".join(one.name for one in candidates)
        raise CheckpointError(
            f"{ref} has several SAEs for layer {layer}: {names}; expected one, or name one file"
        )
    return candidates[0]


def _position(layer: Layer) -> tuple[bool, int]:
    return (True, 0) if layer == EMBED else (False, layer)
