"""The metrics of `eval heat` as tables and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from indexer.evaluation.heatmap_features import OBJECT_GROUPS
from indexer.evaluation.heatmaps import AblationLine, HeatmapMetrics
from indexer.evaluation.localization import HeatmapShares
from indexer.evaluation.report import percent
from scopeview.slots import Layer

GOAL = 0.8


def as_json(found: HeatmapMetrics) -> dict[str, Any]:
    """The metrics as JSON. Layers are numbers or "embed", as keys strings; a share of nothing is null."""
    located = {
        str(layer): {group: shares._asdict() for group, shares in by_group.items()}
        for layer, by_group in found.located.items()
    }
    removed = [
        {"question": line.question, **line.place._asdict(), **line.shares._asdict()} for line in found.removed
    ]
    return {**asdict(found), "located": located, "removed": removed}


def table(found: HeatmapMetrics) -> Iterator[str]:
    """Yields the tables line by line."""
    yield f"{found.index}: {found.model} on fresh scenes of world {found.fresh_seed}"
    yield ""
    yield from _located(found)
    yield ""
    yield from _removed(found)


def _located(found: HeatmapMetrics) -> Iterator[str]:
    n_scenes = f"{found.n_scenes:,}"
    yield "Heatmaps: for each object, the feature at any that stands for it was chosen on the index's own"
    yield f"scenes. Counted are those of {n_scenes} fresh scenes that show it: the share of them where the"
    yield "strongest patch of the feature's heatmap has its centre inside the object. A feature that does"
    yield "not fire is a miss. Beside it: another feature of the same scene, and a random patch."
    yield f"Goal by kind, at some layer: {GOAL:.0%}"
    yield ""
    heads = ("inside", "another", "chance", "fires", "if it fires", "touching")
    yield f"{'layer':7}{'by':17}{'have one':>11}{'pairs':>8}" + "".join(f"{head:>12}" for head in heads)
    for layer, by_group in found.located.items():
        for group in OBJECT_GROUPS:
            yield _located_line(layer, group, by_group[group])


def _removed(found: HeatmapMetrics) -> Iterator[str]:
    yield f"Ablation: {found.n_single:,} fresh scenes with one object, and the share of them where the right"
    yield "prompt becomes less likely (and less than half as likely) when the group of features with the"
    yield "largest mass is set to 0. Beside it: random other features of the same mass."
    yield f"Goal at some layer: {GOAL:.0%}, and far fewer at random"
    yield ""
    yield f"{'':28}{'less likely':>18}{'half as likely':>18}{'of the mass':>18}{'probability':>18}"
    heads = ("group", "random", "group", "random", "group", "random", "before", "group", "random", "right")
    yield f"{'prompt':16}{'layer':7}{'at':5}" + "".join(f"{head:>9}" for head in heads)
    for line in found.removed:
        yield _removed_line(line)


def _located_line(layer: Layer, group: str, found: HeatmapShares) -> str:
    shares = (found.inside, found.other, found.chance, found.fires, found.inside_firing, found.touching)
    cells = "".join(f"{percent(share):>12}" for share in shares)
    return f"{layer!s:7}{group:17}{f'{found.n_things} of {found.n_concepts}':>11}{found.n_pairs:>8,}{cells}"


def _removed_line(line: AblationLine) -> str:
    found = line.shares
    shares = (found.lowers, found.lowers_random, found.halves, found.halves_random)
    cells = "".join(f"{percent(share):>9}" for share in (*shares, found.share, found.random_share))
    means = "".join(f"{mean:>9.3f}" for mean in (found.before, found.after, found.after_random))
    return (
        f"{line.question:16}{line.place.layer!s:7}{line.place.token:5}{cells}{means}{percent(found.right):>9}"
    )
