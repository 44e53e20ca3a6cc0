"""Pictures in, codes out: the one path that both the indexer and uploads go through.

An encoder holds one CLIP model and the SAEs of the layers it taps. It knows
nothing of files, shards or requests.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int, Int16, Int32, UInt8
from PIL import Image
from torch import Tensor

from scopeview import metrics
from scopeview.apart import Apart, LayerApart, codes_of
from scopeview.clip import Clip, Taps
from scopeview.knobs import Knobs, Turned
from scopeview.sae import Codes, Sae
from scopeview.slots import ANY, EMBED, Layer, Slot, Token, slots_of, token_number
from scopeview.steering import read_logit_scale, turn
from scopeview.store.records import Code


class SlotCodes(NamedTuple):
    """The codes of a batch at one slot, laid end to end: image i owns the next `lengths[i]` pairs.

    A fixed token gives the SAE's k pairs an image; `any` gives every feature that fires at some token, with
    its maximum over the tokens and the first token at which that is reached. In descending order of value;
    equal values by ascending feature.
    """

    lengths: Int32[np.ndarray, " batch"]
    features: Int32[np.ndarray, " pairs"]
    values: Float32[np.ndarray, " pairs"]
    positions: Int16[np.ndarray, " pairs"] | None

    def first(self, n: int) -> "SlotCodes":
        """The codes of the first `n` images."""
        end = int(self.lengths[:n].sum())
        positions = None if self.positions is None else self.positions[:end]
        return SlotCodes(self.lengths[:n], self.features[:end], self.values[:end], positions)


class Encoded(NamedTuple):
    """What a batch of pictures became."""

    codes: dict[Slot, SlotCodes]
    embeddings: Float16[np.ndarray, "batch projection"]
    finite: Bool[np.ndarray, " batch"]  # False where an activation is NaN or infinite: not to be kept

    def first(self, n: int) -> "Encoded":
        """The first `n` images of the batch."""
        codes = {slot: found.first(n) for slot, found in self.codes.items()}
        return Encoded(codes, self.embeddings[:n], self.finite[:n])


class Encoder:
    """CLIP and the SAEs of its tapped layers, on one device."""

    def __init__(self, clip: Clip, saes: Mapping[Layer, Sae], tokens: Sequence[Token]) -> None:
        self.clip = clip
        self.saes = dict(saes)
        self.slots = slots_of(self.saes, tokens)
        self._decoder_norms: dict[Layer, Tensor] = {}

    def crop(self, image: Image.Image) -> UInt8[np.ndarray, "3 height width"]:
        """The square of an RGB picture that the model sees, as the model's own processor cuts it."""
        return self.clip.preprocessing.crop(image)

    def encode(self, crops: UInt8[np.ndarray, "batch 3 height width"]) -> Encoded:
        """Every slot's codes and the image embedding, in one pass over the batch."""
        with torch.inference_mode():
            taps = self.clip.forward(torch.from_numpy(crops), [at for at in self.saes if at != EMBED])
            codes = {
                slot: found for layer in self.saes for slot, found in self._layer_codes(layer, taps).items()
            }
            finite = _finite_images(taps)
        embeddings = taps.embedding.to(torch.float16).cpu().numpy()
        return Encoded(codes, embeddings, finite)

    def apart(
        self,
        crops: UInt8[np.ndarray, "batch 3 height width"],
        layers: Sequence[Layer] | None = None,
        *,
        embedding: bool = True,
    ) -> list[Apart]:
        """Each picture's code at every token of these layers (None: all), and what each code leaves over.

        Where the embedding is not wanted the network is run no further than the last of the layers.
        """
        wanted = list(self.saes) if layers is None else list(layers)
        with torch.inference_mode():
            taps, embeddings = self._tap(torch.from_numpy(crops), wanted, embedding=embedding)
            found = {
                layer: _layer_apart(self.saes[layer], taps[layer], self._norms(layer)) for layer in wanted
            }
        return [
            Apart(
                {layer: pictures[i] for layer, pictures in found.items()},
                None if embeddings is None else embeddings[i].cpu().numpy(),
            )
            for i in range(len(crops))
        ]

    def codes(self, crops: UInt8[np.ndarray, "batch 3 height width"]) -> list[list[Code]]:
        """For each picture its code at every slot, in slot order; `any` is cut to its k strongest."""
        return [codes_of(apart, self.slots) for apart in self.apart(crops)]

    def turn(self, crop: UInt8[np.ndarray, "3 height width"], apart: LayerApart, knobs: Knobs) -> Turned:
        """The picture's embedding without and with the edits; `apart` is it at the knobs' layer."""
        return turn(self.clip, self.saes[knobs.layer], crop, apart, knobs)

    def directions(self, layer: Layer, features: Sequence[int]) -> Float32[np.ndarray, "feature d_in"]:
        """The decoder rows of some features, as they are: not of unit length."""
        rows: Float32[np.ndarray, "feature d_in"] = self.saes[layer].dec[list(features)].cpu().numpy()
        return rows

    def norms(self, layer: Layer, features: Sequence[int]) -> Float32[np.ndarray, " feature"]:
        """The lengths of these decoder rows."""
        lengths: Float32[np.ndarray, " feature"] = self._norms(layer)[list(features)].cpu().numpy()
        return lengths

    @cached_property
    def logit_scale(self) -> float:
        """By what this CLIP multiplies cosines. Raises `ModelError` where its file does not say."""
        return read_logit_scale(self.clip)

    def facts(self) -> dict[str, Any]:
        """What is loaded and where, for those who run a server. Weights that several share count once."""
        tensors = [*self.clip.model.parameters(), *(t for sae in self.saes.values() for t in sae.buffers())]
        n_bytes = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in tensors}
        return {
            "model": self.clip.info.ref,
            "device": str(self.clip.device),
            "dtype": str(self.clip.dtype).removeprefix("torch."),
            "layers": list(self.saes),
            "n_bytes": sum(n_bytes.values()),
        }

    def _tap(
        self, pixels: Tensor, layers: Sequence[Layer], *, embedding: bool
    ) -> tuple[dict[Layer, Tensor], Tensor | None]:
        """(batch, token, d_in) by layer; the embedding counts as an image's only token."""
        blocks = [layer for layer in layers if layer != EMBED]
        if not embedding and EMBED not in layers:
            return dict[Layer, Tensor](self.clip.residuals(pixels, blocks).items()), None
        taps = self.clip.forward(pixels, blocks)
        tapped = dict[Layer, Tensor](taps.residuals.items())
        return tapped | {EMBED: taps.embedding[:, None]}, taps.embedding

    def _norms(self, layer: Layer) -> Float[Tensor, " n_features"]:
        """Worked out once a layer: it reads the whole decoder."""
        if layer not in self._decoder_norms:
            self._decoder_norms[layer] = self.saes[layer].decoder_norms
        return self._decoder_norms[layer]

    def _layer_codes(self, layer: Layer, taps: Taps) -> dict[Slot, SlotCodes]:
        sae, slots = self.saes[layer], [slot for slot in self.slots if slot.layer == layer]
        if layer == EMBED:
            return {slot: _fixed_token(sae.encode(taps.embedding), sae) for slot in slots}
        residual = taps.residuals[layer]
        if ANY not in (slot.token for slot in slots):
            return {slot: _fixed_token(sae.encode(residual[:, _number(slot)]), sae) for slot in slots}
        # All tokens once, so that `cls` and `any` agree to the last bit where they speak of the same token.
        codes = _per_image(sae.encode(residual.flatten(0, 1)), len(residual))
        return {
            slot: _any_token(codes, sae)
            if slot.token == ANY
            else _fixed_token(_at(codes, _number(slot)), sae)
            for slot in slots
        }


class _TokenCodes(NamedTuple):
    features: Int[Tensor, "batch token k"]
    values: Float[Tensor, "batch token k"]


def _number(slot: Slot) -> int:
    number = token_number(slot.token)
    assert number is not None
    return number


def _per_image(codes: Codes, batch: int) -> _TokenCodes:
    # Not -1: a ReLU SAE of which nothing fires in the whole batch has no columns.
    n_tokens = len(codes.values) // batch
    return _TokenCodes(*(part.reshape(batch, n_tokens, part.shape[1]) for part in codes))


def _at(codes: _TokenCodes, token: int) -> Codes:
    return Codes(codes.features[:, token], codes.values[:, token])


def _fixed_token(codes: Codes, sae: Sae) -> SlotCodes:
    features, values = codes.features.cpu().numpy().astype(np.int32), codes.values.cpu().numpy()
    # A TopK SAE keeps its k values whatever their sign; a ReLU SAE's zeros are padding.
    kept = np.ones_like(values, dtype=bool) if sae.config.k is not None else values > 0
    return SlotCodes(kept.sum(axis=1, dtype=np.int32), features[kept], values[kept], None)


def _any_token(codes: _TokenCodes, sae: Sae) -> SlotCodes:
    batch, n_tokens, k = codes.values.shape
    features, values = codes.features.flatten(1), codes.values.flatten(1)
    token = torch.arange(n_tokens, device=values.device).repeat_interleave(k)
    # Dense over features but not over tokens: 256 KB an image at 65,536 features.
    highest = torch.zeros(batch, sae.config.n_features, device=values.device)
    highest.scatter_reduce_(1, features, values, "amax")
    reached = torch.where(values == highest.gather(1, features), token, n_tokens)
    first = torch.full(highest.shape, n_tokens, dtype=torch.long, device=values.device)
    first.scatter_reduce_(1, features, reached, "amin")
    image, feature = (highest > 0).nonzero(as_tuple=True)
    pairs = (image, feature, highest[image, feature], first[image, feature])
    rows, columns, peaks, positions = (part.cpu().numpy() for part in pairs)
    order = np.lexsort((columns, -peaks, rows))
    return SlotCodes(
        np.bincount(rows, minlength=batch).astype(np.int32),
        columns[order].astype(np.int32),
        peaks[order],
        positions[order].astype(np.int16),
    )


def _finite_images(taps: Taps) -> Bool[np.ndarray, " batch"]:
    finite = taps.embedding.isfinite().all(dim=1)
    for residual in taps.residuals.values():
        finite &= residual.isfinite().flatten(1).all(dim=1)
    return finite.cpu().numpy()


def _layer_apart(
    sae: Sae, x: Float[Tensor, "batch token d_in"], norms: Float[Tensor, " n_features"]
) -> list[LayerApart]:
    """One picture after the other."""
    rebuilt = sae(x.flatten(0, 1))
    codes = _per_image(rebuilt.codes, len(x))
    explained = metrics.each_explained_variance(rebuilt.x, rebuilt.x_hat).float()
    mse = metrics.each_mse(rebuilt.x, rebuilt.x_hat).float()
    parts = (
        codes.features.int(),
        codes.values,
        norms[codes.features],
        *(figure.reshape(x.shape[:2]) for figure in (explained, mse)),
    )
    features, values, lengths, *figures = (part.cpu().numpy() for part in parts)
    # A ReLU SAE's rows are as wide as the busiest of the whole batch; a picture's own needs no more than its.
    widths = [sae.config.k or int((picture > 0).sum(axis=1).max(initial=0)) for picture in values]
    return [
        LayerApart(
            sae.config.k,
            *(np.ascontiguousarray(part[i, :, :width]) for part in (features, values, lengths)),
            *(figure[i] for figure in figures),
        )
        for i, width in enumerate(widths)
    ]
