"""The naive way from a feature to words, the control of text search: its decoder row through the last layers.

A row is taken out of the standardised space and put through CLIP's final layer norm and projection, as if it
were the class token's activation after the last block (the logit lens). A row of an SAE on the embedding is
in that space as it is. Known not to work well; that is what it is here for.
"""

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn.functional import normalize

from scopeview.sae.autoencoder import Sae
from scopeview.slots import EMBED
from scopeview.vision.clip import Clip


@torch.inference_mode()
def decoder_lens(clip: Clip, sae: Sae) -> Float32[np.ndarray, "feature projection"]:
    """Of unit length, by feature."""
    rows, stats = sae.dec, sae.standardization
    if stats is not None:
        rows = rows * (stats.to(rows.device).std + stats.eps)
    if sae.config.layer != EMBED:
        tower = clip.model
        rows = tower.visual_projection(tower.vision_model.post_layernorm(rows.to(clip.dtype)))
    found: Float32[np.ndarray, "feature projection"] = normalize(rows.float(), dim=1).cpu().numpy()
    return found
