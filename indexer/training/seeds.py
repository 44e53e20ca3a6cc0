"""Random numbers without a state to save: each draw depends only on a few numbers, such as seed and step."""

import numpy as np
import torch


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator for these non-negative numbers; others, or another order, give unrelated draws."""
    (word,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(word) >> 1)
