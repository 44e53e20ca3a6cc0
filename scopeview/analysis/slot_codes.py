"""The codes of a batch of images at one slot: on the device, then as arrays for storage.

Nothing dense over tokens and features is ever held: `any` is computed from the tokens' codes and keeps one
maximum per feature.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int, Int16, Int32
from torch import Tensor

from scopeview.sae.autoencoder import MAX_DENSE_BYTES, Codes, SaeConfig
from scopeview.slots import Slot

_BYTES_PER_VALUE = 24  # what `any_token` needs while it works, beside the codes themselves


class SlotCodes(NamedTuple):
    """The codes of a batch at one slot, laid end to end: image i owns the next `lengths[i]` pairs.

    A fixed token gives the SAE's k pairs per image, or those above 0 if it has no k. `any` gives every
    feature that fires at some token, with its maximum over the tokens and the first token that reaches it. In
    descending order of value; equal values by ascending feature.
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

    def only(self, kept: Bool[np.ndarray, " batch"]) -> "SlotCodes":
        """The codes of the images that are kept."""
        pairs = np.repeat(kept, self.lengths)
        positions = None if self.positions is None else self.positions[pairs]
        return SlotCodes(self.lengths[kept], self.features[pairs], self.values[pairs], positions)

    def finite_images(self) -> Bool[np.ndarray, " batch"]:
        """True for images whose values are all finite."""
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)
        finite = np.ones(len(self.lengths), dtype=bool)
        finite[owner[~np.isfinite(self.values)]] = False
        return finite


class Encoded(NamedTuple):
    """The codes and embeddings of a batch of images."""

    codes: dict[Slot, SlotCodes]
    embeddings: Float16[np.ndarray, "batch projection"]
    finite: Bool[np.ndarray, " batch"]  # False where an activation is NaN or infinite: not to be kept

    def first(self, n: int) -> "Encoded":
        """The first `n` images of the batch."""
        codes = {slot: found.first(n) for slot, found in self.codes.items()}
        return Encoded(codes, self.embeddings[:n], self.finite[:n])

    def only(self, kept: Bool[np.ndarray, " batch"]) -> "Encoded":
        """The images that are kept."""
        codes = {slot: found.only(kept) for slot, found in self.codes.items()}
        return Encoded(codes, self.embeddings[kept], self.finite[kept])


class SlotTensors(NamedTuple):
    """`SlotCodes` still on the device; `to_host` waits for it."""

    lengths: Int[Tensor, " batch"]
    features: Int[Tensor, " pairs"]
    values: Float[Tensor, " pairs"]
    positions: Int[Tensor, " pairs"] | None

    def to_host(self) -> SlotCodes:
        positions = None if self.positions is None else self.positions.to(torch.int16).cpu().numpy()
        return SlotCodes(
            self.lengths.to(torch.int32).cpu().numpy(),
            self.features.to(torch.int32).cpu().numpy(),
            self.values.cpu().numpy(),
            positions,
        )


class TokenCodes(NamedTuple):
    """The code of every image at every token."""

    features: Int[Tensor, "batch token k"]
    values: Float[Tensor, "batch token k"]

    def at(self, token: int) -> Codes:
        return Codes(self.features[:, token], self.values[:, token])


def per_image(codes: Codes, batch: int) -> TokenCodes:
    """Reshapes the codes of (batch * token) rows, token by token within each image, to one row per image."""
    # Not -1: a ReLU SAE of which nothing fires in the whole batch has no columns.
    n_tokens = len(codes.values) // batch
    return TokenCodes(*(part.reshape(batch, n_tokens, part.shape[1]) for part in codes))


def fixed_token(codes: Codes, config: SaeConfig) -> SlotTensors:
    """The codes at one token. With a k, all k values are kept whatever their sign; else those above 0."""
    batch, width = codes.values.shape
    if config.k is not None:
        lengths = torch.full((batch,), width, dtype=torch.int32, device=codes.values.device)
        return SlotTensors(lengths, codes.features.flatten(), codes.values.flatten(), None)
    kept = codes.values > 0
    return SlotTensors(kept.sum(dim=1), codes.features[kept], codes.values[kept], None)


def any_token(codes: TokenCodes, config: SaeConfig) -> SlotTensors:
    """The maximum over the tokens of every feature that fires at any, and the first token that reaches it.

    Values below 0 (of TopK and AbsTopK SAEs) do not fire and are left out.
    """
    batch, n_tokens, k = codes.values.shape
    at_once = max(1, MAX_DENSE_BYTES // max(1, _BYTES_PER_VALUE * n_tokens * k))
    if batch > at_once:  # of dense SAEs alone: thousands of features at every token
        parts = zip(*(torch.split(part, at_once) for part in codes), strict=True)
        return concatenate_slots([any_token(TokenCodes(*part), config) for part in parts])
    features, values = codes.features.flatten(1), codes.values.flatten(1)
    token = torch.arange(n_tokens, device=values.device, dtype=torch.int32).repeat_interleave(k)
    highest = torch.zeros(batch, config.n_features, device=values.device)
    highest.scatter_reduce_(1, features, values, "amax")
    reached = torch.where(values == highest.gather(1, features), token, n_tokens)
    first = torch.full(highest.shape, n_tokens, dtype=torch.int32, device=values.device)
    first.scatter_reduce_(1, features, reached, "amin")
    image, feature = (highest > 0).nonzero(as_tuple=True)
    peaks = highest[image, feature]
    # Two stable sorts of pairs that come by image and feature: by image, then value, then feature.
    order = peaks.argsort(descending=True, stable=True)
    order = order[image[order].argsort(stable=True)]
    lengths = torch.bincount(image, minlength=batch)
    return SlotTensors(lengths, feature[order], peaks[order], first[image, feature][order])


def concatenate_slots(parts: Sequence[SlotTensors]) -> SlotTensors:
    """Concatenates the blocks of a batch, in order."""
    if len(parts) == 1:
        return parts[0]
    positions = [part.positions for part in parts if part.positions is not None]
    return SlotTensors(
        torch.cat([part.lengths for part in parts]),
        torch.cat([part.features for part in parts]),
        torch.cat([part.values for part in parts]),
        torch.cat(positions) if positions else None,
    )


def concatenate_batches(parts: Sequence[Encoded]) -> Encoded:
    """Concatenates batches of the same slots, in order."""
    if len(parts) == 1:
        return parts[0]
    codes = {slot: _joined_codes([part.codes[slot] for part in parts]) for slot in parts[0].codes}
    embeddings = np.concatenate([part.embeddings for part in parts])
    return Encoded(codes, embeddings, np.concatenate([part.finite for part in parts]))


def _joined_codes(parts: Sequence[SlotCodes]) -> SlotCodes:
    positions = [part.positions for part in parts if part.positions is not None]
    return SlotCodes(
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate(positions) if positions else None,
    )
