"""The learning rate at every step: a linear warm-up, an optional plateau, a decay. Knows numbers only."""

import math
from dataclasses import dataclass
from typing import Literal

Decay = Literal["linear", "cosine", "none"]


@dataclass(frozen=True)
class Schedule:
    """Rises to `peak` over `warmup_steps`, stays for `hold_steps`, then decays towards `floor`.

    The step after the last, `n_steps`, would be at `floor`. A pure function of the step: there is nothing to
    save, and a resumed run continues exactly.
    """

    peak: float
    n_steps: int
    warmup_steps: int = 0
    decay: Decay = "cosine"
    floor: float = 0.0
    hold_steps: int = 0

    def at(self, step: int) -> float:
        """The rate of step 0, 1, ...; the very first is above zero, so that no step is wasted."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        return self.floor + (self.peak - self.floor) * self._share(step)

    def _share(self, step: int) -> float:
        """The share of the decay left: 1 at the end of the plateau, 0 at `n_steps`."""
        first = self.warmup_steps + self.hold_steps
        done = min(1.0, max(0, step - first) / max(1, self.n_steps - first))
        if self.decay == "linear":
            return 1 - done
        return (1 + math.cos(math.pi * done)) / 2 if self.decay == "cosine" else 1.0
