"""The weights of an SAE in training, and their constraint: decoder rows of unit length.

With unit rows a feature's activation is its mass, small activations on long rows cannot evade an L1 penalty,
and all features compete for the k places on equal terms. Knows no loss and no data.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from indexer.training.sae_config import SaeSettings
from indexer.training.seeds import seeded
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.normalization import Standardization
from scopeview.slots import EMBED

_EMBED_NUMBER = 1_000_000  # for seeds: beyond any block's


class TrainedSae(torch.nn.Module):
    """pre = (x - pre_b) @ enc.T + enc_b; both tables have one row per feature. Only a ReLU SAE has `enc_b`.

    The decoder's rows start as random directions (but see `init_from_tokens`), the encoder equals them, and
    the biases are zero: the mean of the standardised input. Such an SAE overshoots for a few steps. Scaling
    its encoder down would avoid that, but leave the features not yet chosen too short to ever be chosen
    (observed: 42 % dead instead of 1 %).
    """

    enc_b: torch.nn.Parameter | None

    def __init__(self, settings: SaeSettings, seed: int) -> None:
        super().__init__()
        number = _EMBED_NUMBER if settings.layer == EMBED else settings.layer
        random = torch.randn(settings.n_features, settings.d_in, generator=seeded(seed, number))
        rows = normalize(random, dim=1)
        self.pre_b = torch.nn.Parameter(torch.zeros(settings.d_in))
        self.enc = torch.nn.Parameter(rows.clone())
        self.dec = torch.nn.Parameter(rows)
        is_relu = settings.architecture == "relu"
        self.enc_b = torch.nn.Parameter(torch.zeros(settings.n_features)) if is_relu else None

    @torch.no_grad()
    def init_from_tokens(self, tokens: Float[Tensor, "token d_in"]) -> None:
        """Starts feature i in the direction of token i; features beyond the last token stay random.

        A token exactly at the mean has no direction and is skipped.
        """
        rows = normalize(tokens, dim=1)[tokens.norm(dim=1) > 0][: len(self.dec)]
        self.enc[: len(rows)] = rows
        self.dec[: len(rows)] = rows

    @torch.no_grad()
    def normalize_decoder(self) -> None:
        """Restores unit length of the decoder's rows; called after every optimiser step."""
        self.dec.copy_(normalize(self.dec, dim=1))

    @torch.no_grad()
    def drop_radial_gradient(self) -> None:
        """Removes the gradient along each row, which normalization undoes but Adam and clipping would see."""
        assert self.dec.grad is not None
        self.dec.grad -= (self.dec.grad * self.dec).sum(dim=1, keepdim=True) * self.dec

    @torch.no_grad()
    def finished(self, settings: SaeSettings, statistics: Standardization) -> Sae:
        """The SAE for inference, on the CPU. It takes raw activations."""
        config = SaeConfig(
            architecture=settings.architecture,
            layer=settings.layer,
            d_in=settings.d_in,
            n_features=settings.n_features,
            k=settings.k,
            normalization="standardize",
            source="sae.safetensors",
            sha256="",
        )
        enc: Float[Tensor, "d_in n_features"] = self.enc.detach().cpu().T.contiguous()
        enc_b = None if self.enc_b is None else self.enc_b.detach().cpu().clone()
        weights = Weights(self.pre_b.detach().cpu().clone(), enc, self.dec.detach().cpu().clone(), enc_b)
        return Sae(config, weights, statistics.to("cpu"))
