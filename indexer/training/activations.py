"""The SAEs' training data: standardized activations of a stream of images, shuffled in memory.

The tokens of one image resemble each other. So the tokens of a bounded number of images are kept in a buffer
and handed out in random order; then the buffer is refilled. Nothing is written to disk, and there is no
random state: step 700 gets the same tokens whether or not the run was interrupted before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from indexer.training.image_stream import ImageStream, StreamedImage
from indexer.training.sae_config import EMBED_BATCH, Plan
from indexer.training.seeds import seeded
from scopeview.errors import InputError
from scopeview.sae.calibration import CalibrationModel
from scopeview.sae.normalization import Standardization
from scopeview.slots import EMBED, Layer
from scopeview.vision.clip import ResidualActivations

_EMBED_MEMORY = 16_384


class StreamPosition(NamedTuple):
    """The state of a run: its next step, and the sample with which the buffer of that step begins."""

    step: int
    sample: int


class ActivationBatch(NamedTuple):
    """One step's tokens by layer, in fp32; `after` is the position of the run after the step."""

    tokens: dict[Layer, Float[Tensor, "token d_in"]]
    after: StreamPosition


class Activations:
    """Batches of activations, from any position to the plan's last step."""

    def __init__(
        self,
        plan: Plan,
        clip: CalibrationModel,
        statistics: Mapping[Layer, Standardization],
        device: torch.device,
    ) -> None:
        self._plan, self._clip, self._device = plan, clip, device
        self._statistics = {layer: stats.to(device) for layer, stats in statistics.items()}
        self._blocks = [layer for layer in plan.layers if layer != EMBED]
        self._buffer: dict[Layer, Tensor] = {}
        self.n_not_finite = 0

    def sample_tokens(self, layer: Layer, n: int) -> Float[Tensor, "token d_in"]:
        """`n` tokens of the last batch's buffer in random order, or all if it has fewer."""
        tokens = self._buffer[layer].flatten(0, 1)
        order = torch.randperm(len(tokens), generator=seeded(self._plan.seed, 0, 1))
        return tokens[order[:n].to(tokens.device)].float()

    def batches(
        self, stream: ImageStream, place: StreamPosition, *, repeat_from: int | None
    ) -> Iterator[ActivationBatch]:
        """Yields the batches. Raises `InputError` if the images run out before the last step."""
        size = self._plan.buffer_steps
        first, begin = place.step - place.step % size, place.sample
        with closing(stream.images(begin, repeat_from=repeat_from)) as images:
            while first < self._plan.n_steps:
                last = min(first + size, self._plan.n_steps) - 1
                taken = self._take(images, (last + 1 - first) * self._plan.batch_size, stream, first)
                self._buffer = self._fill([crop for crop, _ in taken])
                end = taken[-1].next_sample
                for step in range(max(first, place.step), last + 1):
                    after = StreamPosition(step + 1, end if step == last else begin)
                    yield ActivationBatch(
                        self._shuffled_step(self._buffer, first // size, step - first), after
                    )
                first, begin = last + 1, end

    def _take(
        self, images: Iterator[StreamedImage], n: int, stream: ImageStream, first_step: int
    ) -> list[StreamedImage]:
        taken = list(islice(images, n))
        if len(taken) < n:
            n_found = first_step * self._plan.batch_size + len(taken)
            raise InputError(
                f"{stream.ref} has {n_found} usable images after the {self._plan.calibration_images} of "
                f"calibration, but the run takes {self._plan.n_images}: ask for fewer images, give more, or "
                "use --repeat to go over them again"
            )
        return taken

    def _fill(self, crops: Sequence[UInt8[np.ndarray, "3 height width"]]) -> dict[Layer, Tensor]:
        """The standardised activations by layer: [image, token, d_in], for `embed` [image, 1, d_in]."""
        buffer: dict[Layer, Tensor] = {}
        for start in range(0, len(crops), self._plan.batch_size):
            pixels = np.stack(crops[start : start + self._plan.batch_size])
            activations = self._clip.forward(torch.from_numpy(pixels), self._blocks)
            for layer, stats in self._statistics.items():
                raw = _tokens(activations, layer)
                if start == 0:
                    buffer[layer] = self._empty(len(crops), *raw.shape[1:])
                buffer[layer][start : start + len(raw)] = self._standardised(raw, stats)
        return buffer

    def _empty(self, *shape: int) -> Tensor:
        # Standardised first and rounded then, bf16 loses little; it halves what the buffer takes.
        dtype = torch.bfloat16 if self._plan.dtype == "bfloat16" else torch.float32
        return torch.empty(shape, dtype=dtype, device=self._device)

    def _standardised(self, raw: Tensor, stats: Standardization) -> Tensor:
        """Standardises activations; one that is not finite becomes the mean, 0, and is counted."""
        x = stats.apply(raw.to(self._device).flatten(0, 1)).view_as(raw)
        finite = x.isfinite()
        if not bool(finite.all()):
            self.n_not_finite += int((~finite).sum())
            x = torch.where(finite, x, 0)
        return x

    def _shuffled_step(self, buffer: Mapping[Layer, Tensor], number: int, turn: int) -> dict[Layer, Tensor]:
        """One step's tokens. The turns of a buffer use each token exactly once; embeddings are in order."""
        dealt: dict[Layer, Tensor] = {}
        for layer, held in buffer.items():
            n_images, n_tokens, _ = held.shape
            n_dealt = self._plan.batch_size * n_tokens
            order = torch.arange(n_images * n_tokens)
            if layer != EMBED:
                order = order[torch.randperm(len(order), generator=seeded(self._plan.seed, number))]
            chosen = order[turn * n_dealt : (turn + 1) * n_dealt].to(self._device)
            dealt[layer] = held.flatten(0, 1)[chosen].float()
        return dealt


class EmbedMemory:
    """The latest embeddings. An image has 257 tokens at a block but only one embedding: to see as many
    vectors per step, an SAE on `embed` sees each embedding several times."""

    def __init__(self, d_in: int, seed: int, device: torch.device) -> None:
        self._held = torch.zeros(_EMBED_MEMORY, d_in, device=device)
        self._seed, self._n_seen = seed, 0

    def draw(self, fresh: Float[Tensor, "image d_in"], step: int) -> Float[Tensor, "token d_in"]:
        """Stores the new embeddings and draws a batch, with replacement, from all that are stored."""
        places = (self._n_seen + torch.arange(len(fresh))) % len(self._held)
        self._held[places.to(self._held.device)] = fresh
        self._n_seen += len(fresh)
        n = max(EMBED_BATCH, len(fresh))
        among = min(self._n_seen, len(self._held))
        chosen = torch.randint(among, (n,), generator=seeded(self._seed, step))
        return self._held[chosen.to(self._held.device)]

    def state(self) -> dict[str, Any]:
        return {"held": self._held, "n_seen": self._n_seen}

    def load(self, state: Mapping[str, Any]) -> None:
        self._held.copy_(state["held"])
        self._n_seen = state["n_seen"]


def _tokens(activations: ResidualActivations, layer: Layer) -> Float[Tensor, "image token d_in"]:
    return activations.embedding[:, None] if layer == EMBED else activations.residuals[layer]
