"""The plain loop to compare with: hooks, dense latents, a running top-9 table.

transformers' own tower in float32 with a hook on each layer; the latents of both tokens as dense rows of
n_features; `torch.topk` of the table so far and the batch. Nothing is stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scopeview.sae.autoencoder import Sae
from scopeview.slots import Layer

TOP_N = 9


class ReferenceLoop:
    """Call `feed` with batches of pixel values; the table is `tables[(layer, token)]`."""

    def __init__(self, model: Any, saes: Mapping[Layer, Sae], tokens: Sequence[int]) -> None:
        self._model, self._saes, self._tokens = model, saes, tokens
        self._tapped: dict[Layer, Tensor] = {}
        self.tables: dict[tuple[Layer, int], Tensor] = {}
        for layer in saes:
            model.vision_model.encoder.layers[layer].register_forward_hook(self._hook(layer))

    @torch.inference_mode()
    def feed(self, pixel_values: Float[Tensor, "batch 3 height width"]) -> None:
        self._model(pixel_values)
        for layer, sae in self._saes.items():
            for token in self._tokens:
                self._rank(layer, token, sae, self._tapped[layer][:, token])

    def _hook(self, layer: Layer) -> Any:
        def keep(module: object, inputs: object, output: Any) -> None:
            del module, inputs
            self._tapped[layer] = output[0] if isinstance(output, tuple) else output

        return keep

    def _rank(self, layer: Layer, token: int, sae: Sae, x: Tensor) -> None:
        assert sae.config.k is not None
        pre = (x - sae.pre_b) @ sae.enc
        kept = torch.topk(pre, sae.config.k, dim=1)
        latent = torch.zeros_like(pre).scatter_(1, kept.indices, kept.values)
        before = self.tables.get((layer, token))
        candidates = latent if before is None else torch.cat([before, latent])
        self.tables[layer, token] = torch.topk(candidates, min(TOP_N, len(candidates)), dim=0).values
