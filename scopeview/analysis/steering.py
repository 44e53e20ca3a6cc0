"""Steering: the rest of the network run on an edited residual stream.

x' = x + (decode(edited) - decode(original)), in the residual stream's own units. The SAE's
reconstruction error stays in x: with no edits, the result is unchanged.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.feature_edits import CodeChange, FeatureEdits, SteeredEmbeddings, code_change
from scopeview.errors import ModelError
from scopeview.sae.autoencoder import Sae
from scopeview.slots import EMBED
from scopeview.vision.clip import Clip
from scopeview.vision.weights import read_tensors

_LOGIT_SCALE = "logit_scale"


@torch.inference_mode()
def steer(
    clip: Clip,
    sae: Sae,
    crop: UInt8[np.ndarray, "3 height width"],
    decomposition: LayerDecomposition,
    edits: FeatureEdits,
) -> SteeredEmbeddings:
    """Runs the network on the edited image; `decomposition` is the image at the edits' layer, by this SAE."""
    pixels = torch.from_numpy(crop)[None]
    changed = code_change(decomposition, edits)
    if edits.layer == EMBED:
        before = clip.forward(pixels, []).embedding
        after = before + residual_change(sae, changed, before)
    else:
        activations = clip.forward(pixels, [edits.layer])
        before, tokens = activations.embedding, activations.residuals[edits.layer]
        edited = tokens + residual_change(sae, changed, tokens[0])[None]
        after = clip.resume(edited, edits.layer, activations.registers.get(edits.layer))
    return SteeredEmbeddings(before[0].cpu().numpy(), after[0].cpu().numpy())


def residual_change(
    sae: Sae, change: CodeChange, x: Float[Tensor, "token d_in"]
) -> Float[Tensor, "token d_in"]:
    """The change of the SAE's raw input `x` caused by a change of its codes."""
    features = torch.from_numpy(change.features).to(sae.dec.device)
    decoded = torch.from_numpy(change.difference).to(sae.dec.device) @ sae.dec[features]
    return sae.in_raw_units(decoded, x)


def read_logit_scale(clip: Clip) -> float:
    """The factor by which the model multiplies cosines. Raises `ModelError` if its file has none."""
    found = read_tensors(clip.folder, [_LOGIT_SCALE]).get(_LOGIT_SCALE)
    if found is None or found.numel() != 1:
        raise ModelError(f"{clip.folder} has no {_LOGIT_SCALE}: cosines cannot become probabilities")
    return float(found.float().exp())
