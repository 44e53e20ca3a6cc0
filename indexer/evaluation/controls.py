"""Controls for a trained SAE, on the same scenes: random directions, and the dimensions themselves.

random SAE   the layer's own SAE with other weights: unit decoder directions at random, the encoder their
             transpose; width, k, bias and standardisation stay. A ReLU SAE, which has no k, gets its mean L0.
neurons      every dimension of the layer's activation as its SAE takes it in, standardised; above 0 it fires.

Both at `cls` and at `any`, in one pass over the scenes for all layers: per column only the nine highest are
kept. An index holds codes and no activations, so the pass runs the model on every scene; its result is
written to the cache (`SCOPEVIEW_CACHE`) and read from there the next time.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from indexer.evaluation.score import N_TOP, Top
from scopeview.model_spec import Recipe
from scopeview.sae.autoencoder import Sae, Weights
from scopeview.slots import ANY, CLS, EMBED, Layer, Slot, parse_layer, slots_of
from scopeview.store.files import atomic_write, cache_dir
from scopeview.vision.clip import Clip

Control = Literal["random SAE", "neurons"]
CONTROLS: tuple[Control, ...] = get_args(Control)
ControlTops = dict[tuple[Control, Slot], Top]

_CACHE_VERSION = 1  # of the code that measures controls


class TopScenes:
    """The nine scenes with the highest values in each column of a stream; ties go to the earlier scene."""

    def __init__(self) -> None:
        self._values = self._scenes = self._n_fired = torch.empty(0)
        self._n_seen = 0

    def take(self, values: Float[Tensor, "scene column"]) -> None:
        """Takes in the next scenes. A column fires on the scenes where its value is above 0."""
        numbers = torch.arange(self._n_seen, self._n_seen + len(values), device=values.device)
        scenes = numbers[None].expand(values.shape[1], -1)
        if self._n_seen == 0:
            self._values, self._scenes = values.T[:, :0], scenes[:, :0]
            self._n_fired = torch.zeros(values.shape[1], dtype=torch.long, device=values.device)
        both = torch.cat([self._values, values.T], dim=1)
        highest, order = both.sort(dim=1, descending=True, stable=True)
        self._values = highest[:, :N_TOP]
        self._scenes = torch.cat([self._scenes, scenes], dim=1).gather(1, order[:, :N_TOP])
        self._n_fired += (values > 0).sum(dim=0)
        self._n_seen += len(values)

    def result(self) -> Top:
        """The top scenes of the columns that fire on at least nine scenes."""
        fires: Int64[np.ndarray, " column"] = (self._n_fired >= N_TOP).nonzero().squeeze(1).cpu().numpy()
        if len(fires) == 0:
            return Top(fires, np.empty((0, N_TOP), dtype=np.int64))
        return Top(fires, self._scenes.cpu().numpy()[fires])


class Controls:
    """Collects the top scenes of both controls, batch by batch."""

    def __init__(
        self, clip: Clip, saes: Mapping[Layer, Sae], l0s: Mapping[Layer, float], *, seed: int
    ) -> None:
        """`saes` must be on the model's device; `l0s` are used only for ReLU SAEs."""
        self.clip = clip
        self._saes = {layer: random_sae(sae, l0s[layer], seed) for layer, sae in saes.items()}
        self._tops: dict[tuple[Control, Slot], TopScenes] = {}

    @torch.inference_mode()
    def take(self, pixels: UInt8[Tensor, "batch 3 height width"]) -> None:
        activations = self.clip.forward(pixels, [layer for layer in self._saes if layer != EMBED])
        for layer, sae in self._saes.items():
            tokens = activations.embedding[:, None] if layer == EMBED else activations.residuals[layer]
            found: dict[Control, AtTokens] = {
                "random SAE": latents(sae, tokens),
                "neurons": _inputs(sae, tokens),
            }
            for control, values in found.items():
                for slot, of_slot in zip(slots_of([layer], [CLS, ANY]), values, strict=False):
                    self._tops.setdefault((control, slot), TopScenes()).take(of_slot)

    def result(self) -> ControlTops:
        return {key: top.result() for key, top in self._tops.items()}


def cache_path(recipe: Recipe, database: str, device: str, *, world_seed: int, seed: int) -> Path:
    """The cache file for an index's result; `database` names the index's images and configuration."""
    saes = {str(source.layer): source.config.sha256 for source in recipe.suite.sources}
    key = [_CACHE_VERSION, recipe.model_sha256, saes, database, device, world_seed, seed, torch.__version__]
    return cache_dir() / "controls" / f"{sha256(json.dumps(key).encode()).hexdigest()[:32]}.npz"


def save_tops(path: Path, tops: ControlTops) -> None:
    arrays = {
        f"{control}/{slot.layer}/{slot.token}/{name}": array
        for (control, slot), top in tops.items()
        for name, array in top._asdict().items()
    }
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def load_tops(path: Path) -> ControlTops | None:
    """Reads a cached result; returns None if there is no usable one."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found: dict[tuple[Control, Slot], dict[str, np.ndarray[Any, Any]]] = {}
            for name in arrays.files:
                control, layer, token, field = name.split("/")
                key = (CONTROLS[CONTROLS.index(control)], Slot(parse_layer(layer), token))
                found.setdefault(key, {})[field] = arrays[name]
            return {key: Top(**fields) for key, fields in found.items()}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile):
        return None


class AtTokens(NamedTuple):
    """Activations at CLS, and the maxima over all tokens."""

    cls: Float[Tensor, "batch column"]
    any: Float[Tensor, "batch column"]


def random_sae(sae: Sae, l0: float, seed: int) -> Sae:
    """An SAE like this one with random decoder directions; a ReLU SAE becomes TopK with k = its mean L0."""
    config, device = sae.config, sae.pre_b.device
    random = torch.Generator().manual_seed(seed)
    directions = normalize(torch.randn(config.n_features, config.d_in, generator=random), dim=1).to(device)
    k = max(1, round(l0)) if config.k is None else config.k
    weights = Weights(sae.pre_b, directions.T.contiguous(), directions)
    return Sae(replace(config, architecture="topk", k=k), weights, sae.standardization)


def latents(sae: Sae, tokens: Float[Tensor, "batch token d_in"]) -> AtTokens:
    """The latents of all features; 0 where a feature does not fire."""
    batch, n_tokens, _ = tokens.shape
    features, values = (part.view(batch, n_tokens, -1) for part in sae.encode(tokens.flatten(0, 1)))
    silent = torch.zeros(batch, sae.config.n_features, device=values.device)
    return AtTokens(
        silent.scatter_reduce(1, features[:, 0], values[:, 0], "amax"),
        silent.scatter_reduce(1, features.flatten(1), values.flatten(1), "amax"),
    )


def _inputs(sae: Sae, tokens: Float[Tensor, "batch token d_in"]) -> AtTokens:
    standard = sae.normalize(tokens.flatten(0, 1)).view_as(tokens)
    return AtTokens(standard[:, 0], standard.amax(dim=1))
