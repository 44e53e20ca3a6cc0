"""A TopK encoder at the speed of bfloat16 that keeps the features that float32 would keep.

All pre-activations are computed in low precision. The most promising features of each row (twice as many as
are kept) are scored again in float32, and the k largest of those are the code. The error of low precision is
estimated from this row's candidates; if by that estimate another feature could still belong to the k largest,
the whole row is computed in float32. For inference on one device; knows nothing of images.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scopeview.sae.autoencoder import MAX_DENSE_BYTES, Codes, Sae, exact_topk, in_order
from scopeview.vision.onednn_linear import linear

_CANDIDATES_PER_KEPT = 2
_SAFETY = 4.0
"""The assumed largest error of other features, as a multiple of the largest error among the candidates."""


class _Scored(NamedTuple):
    features: Int[Tensor, "batch candidate"]  # ascending, so that equal values go to the lower feature
    values: Float[Tensor, "batch candidate"]
    is_sure: Bool[Tensor, " batch"]


class RescoredSae:
    """Encodes like `sae.encode`, with its own copies of the encoder in float32 and in low precision."""

    def __init__(self, sae: Sae, dtype: torch.dtype = torch.bfloat16) -> None:
        assert sae.config.architecture == "topk"
        assert sae.config.k is not None
        self.config = sae.config
        self.n_unsure = 0
        """The number of rows computed entirely in float32."""
        self._sae, self._k = sae, sae.config.k
        self._n_candidates = min(_CANDIDATES_PER_KEPT * self._k, sae.config.n_features)
        self._rows: Float[Tensor, "n_features d_in"] = sae.enc.t().contiguous()
        self._dtype = dtype
        self._rough = linear(self._rows.to(dtype), None if sae.enc_b is None else sae.enc_b.to(dtype))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch d_in"]) -> Codes:
        """Raw activations -> codes; any batch size, in blocks that hold at most `MAX_DENSE_BYTES`."""
        normalized = self._sae.normalize(x)
        centred = normalized - self._sae.pre_b if self.config.subtract_pre_b else normalized
        bytes_a_row = max(2 * self.config.n_features, 4 * self._n_candidates * self.config.d_in)
        blocks = torch.split(centred, max(1, MAX_DENSE_BYTES // bytes_a_row))
        codes = [self._encode_block(block) for block in blocks]
        return Codes(torch.cat([part.features for part in codes]), torch.cat([part.values for part in codes]))

    def _encode_block(self, x: Tensor) -> Codes:
        scored = self._score(x)
        kept = exact_topk(scored.values, self._k)
        features, values = scored.features.gather(1, kept.features), kept.values
        unsure = (~scored.is_sure).nonzero().squeeze(1)
        if len(unsure):
            self.n_unsure += len(unsure)
            features[unsure], values[unsure] = self._in_full(x[unsure])
        return in_order(Codes(features, self._sae.activate(values)))

    def _score(self, x: Tensor) -> _Scored:
        rough = self._rough(x.to(self._dtype))
        best = torch.topk(rough, self._n_candidates, dim=1)
        features, order = best.indices.sort(dim=1)
        values = self._exact(x, features)
        rough_values = best.values.float().gather(1, order)
        error = (values - rough_values).abs().amax(dim=1)
        least_kept = torch.topk(values, self._k, dim=1).values[:, -1]
        # No feature outside the candidates has a rough value above theirs.
        is_sure = least_kept - rough_values.amin(dim=1) > _SAFETY * error
        if self._n_candidates == self.config.n_features:
            is_sure = torch.ones_like(is_sure)
        return _Scored(features, values, is_sure)

    def _exact(self, x: Tensor, features: Tensor) -> Tensor:
        found = torch.bmm(self._rows[features], x.unsqueeze(2)).squeeze(2)
        return found if self._sae.enc_b is None else found + self._sae.enc_b[features]

    def _in_full(self, x: Tensor) -> Codes:
        pre = x @ self._rows.t()
        return exact_topk(pre if self._sae.enc_b is None else pre + self._sae.enc_b, self._k)
