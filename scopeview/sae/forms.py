"""The architectures and input normalisations that an SAE may have, by name. Without torch, for the store."""

from typing import Literal, get_args

Architecture = Literal["topk", "relu", "jumprelu", "abstopk", "groupmax"]
"""How pre-activations become a code.

topk      the k largest, whatever their sign
relu      all above 0
jumprelu  all above 0 and above their feature's threshold. A gated SAE is one (Rajamanoharan et al. 2024,
          arXiv 2404.16014), and BatchTopK at inference, with one threshold for all features
abstopk   the k largest by absolute value, with their sign
groupmax  the largest of each of k groups of neighbouring features
"""

Normalization = Literal["none", "standardize", "center_scale", "layer_norm", "constant_norm"]
"""How raw activations become the SAE's input; `scopeview.sae.normalization` has the formulas."""

NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
MEASURED: tuple[Normalization, ...] = ("standardize", "center_scale")
"""The normalisations that need a mean and std: from the SAE's file, or measured on the indexed images."""
