"""Images in, codes out: the one path that both the indexer and uploads go through.

An encoder holds one CLIP model and the SAEs of the layers it taps. It knows nothing of files, shards or
requests.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, UInt8
from PIL import Image
from torch import Tensor

from scopeview.analysis.decomposition import Decomposition, LayerDecomposition, codes_of
from scopeview.analysis.feature_edits import FeatureEdits, SteeredEmbeddings
from scopeview.analysis.slot_codes import (
    Encoded,
    SlotCodes,
    SlotTensors,
    any_token,
    concatenate_slots,
    fixed_token,
    per_image,
)
from scopeview.analysis.steering import read_logit_scale, steer
from scopeview.sae import metrics
from scopeview.sae.autoencoder import MAX_DENSE_BYTES, Sae
from scopeview.sae.two_stage_topk import RescoredSae
from scopeview.slots import ANY, EMBED, Layer, Slot, Token, slots_of, token_number
from scopeview.store.records import Code
from scopeview.timers import Stopwatch
from scopeview.vision.clip import Clip, TokenActivations

__all__ = ["Encoded", "Encoder", "SlotCodes", "Started"]


class Started(NamedTuple):
    """A batch in progress: all its work has been submitted to the device, and nothing has been waited for."""

    codes: dict[Slot, SlotTensors]
    embeddings: Float[Tensor, "batch projection"]
    finite: Bool[Tensor, " batch"]

    def finish(self) -> Encoded:
        """Waits for the device. May be called from another thread while the next batch is started."""
        codes = {slot: found.to_host() for slot, found in self.codes.items()}
        finite: Bool[np.ndarray, " batch"] = self.finite.cpu().numpy()
        for found in codes.values():
            finite = finite & found.finite_images()
        embeddings: Float16[np.ndarray, "batch projection"] = self.embeddings.to(torch.float16).cpu().numpy()
        return Encoded(codes, embeddings, finite & np.isfinite(embeddings).all(axis=1))


class Encoder:
    """CLIP and the SAEs of its tapped layers, on one device."""

    def __init__(self, clip: Clip, saes: Mapping[Layer, Sae], tokens: Sequence[Token]) -> None:
        self.clip = clip
        self.saes = dict(saes)
        self.slots = slots_of(self.saes, tokens)
        self.watch = Stopwatch(clip.device)
        """The time that CLIP and the SAEs have taken in `encode` and `start`."""
        self._rescored: dict[Layer, RescoredSae] = {}
        self._decoder_norms: dict[Layer, Tensor] = {}

    def crop(self, image: Image.Image) -> UInt8[np.ndarray, "3 height width"]:
        """The square of an RGB image that the model sees, cropped as by the model's own processor."""
        return self.clip.preprocessing.crop(image)

    def encode(self, crops: UInt8[np.ndarray, "batch 3 height width"]) -> Encoded:
        """Computes every slot's codes and the image embedding, in one pass over the batch."""
        return self.start(torch.from_numpy(crops)).finish()

    @torch.inference_mode()
    def start(self, pixels: UInt8[Tensor, "batch 3 height width"]) -> Started:
        """Like `encode`, but does not wait for the device."""
        blocks = [layer for layer in self.saes if layer != EMBED]
        with self.watch.device_span("CLIP"):
            activations = self.clip.residual_stream(pixels, blocks, self._tokens)
        with self.watch.device_span("SAEs"):
            codes = {
                slot: found
                for layer in self.saes
                for slot, found in self._layer_codes(layer, activations).items()
            }
        return Started(codes, activations.embedding, activations.finite)

    def decompose(
        self,
        crops: UInt8[np.ndarray, "batch 3 height width"],
        layers: Sequence[Layer] | None = None,
        *,
        embedding: bool = True,
    ) -> list[Decomposition]:
        """Each image's code at every token of these layers (None: all), and the reconstruction metrics.

        Without the embedding, the network runs only up to the last of the layers.
        """
        wanted = list(self.saes) if layers is None else list(layers)
        with torch.inference_mode():
            activations, embeddings = self._residual_stream(
                torch.from_numpy(crops), wanted, embedding=embedding
            )
            found = {
                layer: _decompose_layer(self.saes[layer], activations[layer], self._norms(layer))
                for layer in wanted
            }
        return [
            Decomposition(
                {layer: codes[i] for layer, codes in found.items()},
                None if embeddings is None else embeddings[i].cpu().numpy(),
            )
            for i in range(len(crops))
        ]

    def codes(self, crops: UInt8[np.ndarray, "batch 3 height width"]) -> list[list[Code]]:
        """Each image's code at every slot, in slot order; `any` has only its k strongest features."""
        return [codes_of(decomposition, self.slots) for decomposition in self.decompose(crops)]

    def steer(
        self,
        crop: UInt8[np.ndarray, "3 height width"],
        decomposition: LayerDecomposition,
        edits: FeatureEdits,
    ) -> SteeredEmbeddings:
        """The embedding without and with the edits; `decomposition` is the image at the edits' layer."""
        return steer(self.clip, self.saes[edits.layer], crop, decomposition, edits)

    def directions(self, layer: Layer, features: Sequence[int]) -> Float32[np.ndarray, "feature d_in"]:
        """The decoder rows of some features, not scaled to unit length."""
        rows: Float32[np.ndarray, "feature d_in"] = self.saes[layer].dec[list(features)].cpu().numpy()
        return rows

    def norms(self, layer: Layer, features: Sequence[int]) -> Float32[np.ndarray, " feature"]:
        """The lengths of these decoder rows."""
        lengths: Float32[np.ndarray, " feature"] = self._norms(layer)[list(features)].cpu().numpy()
        return lengths

    @cached_property
    def logit_scale(self) -> float:
        """The factor by which this CLIP multiplies cosines. Raises `ModelError` if its file has none."""
        return read_logit_scale(self.clip)

    def facts(self) -> dict[str, Any]:
        """The loaded model and its device, for operators. Weights shared by several parts count once."""
        modules: list[torch.nn.Module] = [self.clip.model, *self.saes.values()]
        tensors = [tensor for one in modules for tensor in (*one.parameters(), *one.buffers())]
        weights = [tensor for tensor in tensors if tensor.is_floating_point()]
        n_bytes = {_place(weight): weight.numel() * weight.element_size() for weight in weights}
        return {
            "model": self.clip.info.ref,
            "device": str(self.clip.device),
            "dtype": str(self.clip.dtype).removeprefix("torch."),
            "layers": list(self.saes),
            "n_bytes": sum(n_bytes.values()),
        }

    def _residual_stream(
        self, pixels: Tensor, layers: Sequence[Layer], *, embedding: bool
    ) -> tuple[dict[Layer, Tensor], Tensor | None]:
        """(batch, token, d_in) by layer; for `embed`, the embedding is an image's only token."""
        blocks = [layer for layer in layers if layer != EMBED]
        if not embedding and EMBED not in layers:
            return dict[Layer, Tensor](self.clip.residuals(pixels, blocks).items()), None
        activations = self.clip.forward(pixels, blocks)
        tapped = dict[Layer, Tensor](activations.residuals.items())
        return tapped | {EMBED: activations.embedding[:, None]}, activations.embedding

    def _norms(self, layer: Layer) -> Float[Tensor, " n_features"]:
        """The lengths of all decoder rows; computed once per layer, since it reads the whole decoder."""
        if layer not in self._decoder_norms:
            self._decoder_norms[layer] = self.saes[layer].decoder_norms
        return self._decoder_norms[layer]

    @cached_property
    def _tokens(self) -> list[int] | None:
        """The tokens that any slot of a block needs; None: all tokens."""
        named = dict.fromkeys(slot.token for slot in self.slots if slot.layer != EMBED)
        return None if ANY in named else [token_number(token) or 0 for token in named]

    def _coder(self, layer: Layer) -> Sae | RescoredSae:
        """The encoder of a layer; copies for low precision are made on first use."""
        sae = self.saes[layer]
        if self.clip.dtype == torch.float32 or sae.config.architecture != "topk":
            return sae
        if layer not in self._rescored:
            self._rescored[layer] = RescoredSae(sae, self.clip.dtype)
        return self._rescored[layer]

    def _layer_codes(self, layer: Layer, activations: TokenActivations) -> dict[Slot, SlotTensors]:
        coder, slots = self._coder(layer), [slot for slot in self.slots if slot.layer == layer]
        if layer == EMBED:
            return {slot: fixed_token(coder.encode(activations.embedding), coder.config) for slot in slots}
        residual = activations.residuals[layer]
        blocks = torch.split(residual, self._images_at_once(coder, residual.shape[1]))
        found = [self._block_codes(block, coder, slots) for block in blocks]
        return {slot: concatenate_slots([part[slot] for part in found]) for slot in slots}

    def _block_codes(
        self, residual: Float[Tensor, "batch kept width"], coder: Sae | RescoredSae, slots: Sequence[Slot]
    ) -> dict[Slot, SlotTensors]:
        """Encodes all kept tokens at once, so that `cls` and `any` agree to the last bit about the same
        token."""
        codes = per_image(coder.encode(residual.flatten(0, 1)), len(residual))
        return {
            slot: any_token(codes, coder.config)
            if slot.token == ANY
            else fixed_token(codes.at(self._column(slot)), coder.config)
            for slot in slots
        }

    def _column(self, slot: Slot) -> int:
        """The position of the slot's token among the kept tokens."""
        number = token_number(slot.token)
        assert number is not None
        return number if self._tokens is None else self._tokens.index(number)

    def _images_at_once(self, coder: Sae | RescoredSae, n_tokens: int) -> int:
        """The number of images to encode at once: all, or with `any`, as many as memory bounds allow."""
        if self._tokens is not None:
            return _ALL
        bytes_an_image = 8 * coder.config.n_features + 24 * n_tokens * (coder.config.k or 64)
        return max(1, MAX_DENSE_BYTES // bytes_an_image)


_ALL = 1 << 30


def _place(weight: Tensor) -> int:
    """Identifies a weight's memory, equal for two names of one weight; for a packed one, its object."""
    return weight.data_ptr() if weight.layout is torch.strided else id(weight)


def _decompose_layer(
    sae: Sae, x: Float[Tensor, "batch token d_in"], norms: Float[Tensor, " n_features"]
) -> list[LayerDecomposition]:
    """The decomposition of each image at one layer."""
    rebuilt = sae(x.flatten(0, 1))
    codes = per_image(rebuilt.codes, len(x))
    explained = metrics.each_explained_variance(rebuilt.x, rebuilt.x_hat).float()
    mse = metrics.each_mse(rebuilt.x, rebuilt.x_hat).float()
    parts = (
        codes.features.int(),
        codes.values,
        norms[codes.features],
        *(figure.reshape(x.shape[:2]) for figure in (explained, mse)),
    )
    features, values, lengths, explained_variance, squared_error = (part.cpu().numpy() for part in parts)
    # Without a k, rows are as wide as the busiest of the whole batch; an image's own needs no more than its.
    widths = [sae.config.k or int((row > 0).sum(axis=1).max(initial=0)) for row in values]
    return [
        LayerDecomposition(
            k=sae.config.k,
            features=np.ascontiguousarray(features[i, :, :width]),
            values=np.ascontiguousarray(values[i, :, :width]),
            norms=np.ascontiguousarray(lengths[i, :, :width]),
            explained_variance=explained_variance[i],
            mse=squared_error[i],
        )
        for i, width in enumerate(widths)
    ]
