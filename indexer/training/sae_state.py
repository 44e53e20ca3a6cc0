"""One layer's SAE in training: its optimiser steps, its dead features, and its part of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from indexer.training.sae_config import SaeSettings
from indexer.training.sae_loss import Outcome, aux_gradients, relu_gradients, topk_gradients
from indexer.training.sae_model import TrainedSae
from scopeview.sae import metrics


@dataclass(frozen=True)
class StepMetrics:
    """The metrics of one batch: the loss (without the auxiliary one), the explained variance as
    `scopeview.sae.metrics` defines it, active features per token, the share of dead features, and the norm of
    the gradient before clipping."""

    loss: float
    explained_variance: float
    l0: float
    dead: float
    aux_loss: float
    gradient_norm: float


class Learner:
    """Weights, Adam and, for each feature, the number of tokens since it last fired."""

    def __init__(
        self, settings: SaeSettings, seed: int, device: torch.device, *, low_precision: bool
    ) -> None:
        self.settings = settings
        self.sae = TrainedSae(settings, seed).to(device)
        self.n_tokens = 0
        self._low_precision = low_precision
        self._silent = torch.zeros(settings.n_features, dtype=torch.long, device=device)
        self._adam = torch.optim.Adam(self.sae.parameters(), fused=device.type == "cuda")

    @property
    def dead(self) -> Int[Tensor, "dead"]:
        """The features without an activation above zero in the last `dead_after` tokens, in order."""
        return (self._silent >= self.settings.dead_after).nonzero().squeeze(1)

    def step(
        self, x: Float[Tensor, "token d_in"], lr: float, *, measured: bool = False
    ) -> StepMetrics | None:
        """Learns from one batch of standardised tokens. Metrics on request: they make a GPU wait."""
        self._adam.zero_grad()
        outcome = self._gradients(x)
        aux_loss = self._train_dead_features(x, outcome)
        self._count_silence(outcome, len(x))
        self.sae.drop_radial_gradient()
        norm = clip_grad_norm_(self.sae.parameters(), self.settings.max_gradient_norm)
        for group in self._adam.param_groups:
            group["lr"] = lr
        self._adam.step()
        self.sae.normalize_decoder()
        return self._figures(x, outcome, aux_loss, norm) if measured else None

    def state(self) -> dict[str, Any]:
        return {
            "sae": self.sae.state_dict(),
            "adam": self._adam.state_dict(),
            "silent": self._silent,
            "n_tokens": self.n_tokens,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.sae.load_state_dict(state["sae"])
        self._adam.load_state_dict(state["adam"])
        self._silent.copy_(state["silent"])
        self.n_tokens = state["n_tokens"]

    def _gradients(self, x: Tensor) -> Outcome:
        if self.settings.architecture == "relu":
            return relu_gradients(self.sae, x, self.settings.l1, low_precision=self._low_precision)
        assert self.settings.k is not None
        return topk_gradients(self.sae, x, self.settings.k, low_precision=self._low_precision)

    def _train_dead_features(self, x: Tensor, outcome: Outcome) -> Tensor:
        dead = self.dead
        if len(dead) == 0 or self.settings.aux_k == 0:
            return x.new_zeros(())
        return aux_gradients(
            self.sae,
            x,
            x - outcome.x_hat,
            dead,
            aux_k=self.settings.aux_k,
            weight=self.settings.aux_weight,
            low_precision=self._low_precision,
        )

    def _count_silence(self, outcome: Outcome, n_tokens: int) -> None:
        self._silent += n_tokens
        self._silent[outcome.fired] = 0
        self.n_tokens += n_tokens

    def _figures(self, x: Tensor, outcome: Outcome, aux_loss: Tensor, norm: Tensor) -> StepMetrics:
        return StepMetrics(
            loss=float(outcome.loss),
            explained_variance=metrics.explained_variance(x, outcome.x_hat),
            l0=float(outcome.l0),
            dead=len(self.dead) / self.settings.n_features,
            aux_loss=float(aux_loss),
            gradient_norm=float(norm),
        )
