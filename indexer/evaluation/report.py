"""The metrics of `eval features` as a table and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from indexer.evaluation.concepts import GROUPS
from indexer.evaluation.features import FeatureMetrics, SlotScore

_WIDTH = 13
_MAX_NAMES = 8
_NOTHING = "-"


def as_json(found: FeatureMetrics) -> dict[str, Any]:
    """The metrics as JSON. Layers are numbers or "embed", as keys strings; a share of nothing is null."""
    located = {str(layer): figures for layer, figures in asdict(found)["located"].items()}
    return {**asdict(found), "located": located}


def table(found: FeatureMetrics) -> Iterator[str]:
    """Yields the table line by line."""
    yield f"{found.index}: {found.model} on {found.n_scenes:,} scenes of world {found.seed}"
    yield ""
    yield "Features with one concept: of the features that fire on at least 9 scenes, the share whose 9 top"
    yield f"scenes all show the same one of {found.n_concepts} concepts, and the share where at least 8 do."
    yield "To the right, the first share by group of concepts."
    yield ""
    groups = "".join(f"{group:>{_WIDTH}.{_WIDTH - 1}}" for group in _HEADINGS)
    yield f"{'layer':6}{'token':6}{'of':11}{'features':>9}{'all 9':>8}{'8 or 9':>8}{groups}"
    for line in found.scores:
        yield _line(line)
    yield ""
    yield "Concepts with a feature: the concepts that all 9 top scenes of some feature show, at cls or any."
    yield ""
    for coverage in found.coverage:
        missing = f"   none for {_some(coverage.missing)}" if coverage.missing else ""
        share = f"{coverage.n_covered} of {coverage.n_concepts}"
        yield f"{coverage.layer!s:6}{coverage.group:12}{share:10}{missing}"
    yield ""
    yield "Location: features at any that stand for a kind of object, in one colour or in all, and where they"
    yield "have their maximum."
    yield ""
    yield (
        f"{'layer':6}{'features':>9}{'inside':>9}{'touching':>9}{'at cls':>9}{'chance':>9}"
        f"{'8 of 9 inside':>15}"
    )
    for layer, figures in found.located.items():
        shares = (figures.inside, figures.touching, figures.at_cls, figures.chance)
        cells = "".join(f"{percent(share):>9}" for share in shares)
        yield f"{layer!s:6}{figures.n_features:>9,}{cells}{percent(figures.features):>15}"


_HEADINGS = [
    {"kind and colour": "kind+colour", "background and tint": "backgr.+tint"}.get(group, group)
    for group in GROUPS
]


def _line(line: SlotScore) -> str:
    shares = line.shares
    groups = "".join(f"{percent(shares.nine_by_group.get(group)):>{_WIDTH}}" for group in GROUPS)
    return (
        f"{line.layer!s:6}{line.token:6}{line.subject:11}{shares.n_scored:>9,}"
        f"{percent(shares.nine):>8}{percent(shares.eight):>8}{groups}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")


def percent(share: float | None) -> str:
    """`12.3%`, or a dash where there is no share."""
    return _NOTHING if share is None else f"{share:.1%}"
