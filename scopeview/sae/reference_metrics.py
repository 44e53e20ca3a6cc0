"""The metrics that CLIP-Scope's authors published on their model card, shown beside measured ones.

All apply to standardised activations; the checkpoints alone, without mean and std, cannot reproduce them. No
weights are read here, so that pages can show the metrics without torch.
"""

import re
from typing import NamedTuple

from scopeview.slots import Layer
from scopeview.store.manifest import LayerRecord


class PublishedMetrics(NamedTuple):
    """`dead`: share of features silent over 10,000,000 tokens; `sort_eval`: accuracy of the judge at CLS."""

    mse: float
    explained_variance: float
    dead: float
    active: float
    sort_eval: float | None


PUBLISHED: dict[int, PublishedMetrics] = {
    2: PublishedMetrics(267.95, 0.763, 0.000912, 0.001, None),
    5: PublishedMetrics(354.46, 0.665, 0.0, 0.0034, None),
    8: PublishedMetrics(357.58, 0.642, 0.0, 0.01074, None),
    11: PublishedMetrics(321.23, 0.674, 0.0, 0.0415, 0.7334),
    14: PublishedMetrics(319.64, 0.689, 0.0, 0.07866, 0.7427),
    17: PublishedMetrics(261.20, 0.731, 0.0, 0.1477, 0.8689),
    20: PublishedMetrics(278.06, 0.706, 0.0000763, 0.2036, 0.9149),
    22: PublishedMetrics(299.96, 0.684, 0.0, 0.1588, 0.8641),
}

_FILE = re.compile(r"(\d+)_resid/[^/]+\.pt")
_SHAPE = ("topk", 1024, 65_536)


def published_metrics(record: LayerRecord) -> PublishedMetrics | None:
    """The authors' metrics for an index's SAE, if its file name, shape and layer are those of the suite."""
    shape = (record.architecture, record.d_in, record.n_features)
    return published_for(record.layer, record.sae_file, shape)


def published_for(layer: Layer, file: str, shape: tuple[str, int, int]) -> PublishedMetrics | None:
    """The same for an SAE on disk: `file` as its suite names it, `shape` (architecture, d_in, n_features)."""
    named = _FILE.fullmatch(file)
    if not named or shape != _SHAPE or int(named[1]) != layer:
        return None
    return PUBLISHED.get(int(named[1]))
