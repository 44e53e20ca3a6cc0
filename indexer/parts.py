"""Counts where the parts of samples were found, over a shard or a run, e.g. `caption` from `txt` 80 times.

File and column names come from the data and can be anything: only the commonest are counted separately.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from indexer.sources import SourceOptions
from indexer.sources.sample import Parts

FieldCounts = dict[str, dict[str, int]]
_MAX_NAMES = 100
_OTHERS = "others"


def count_used_fields(found: Mapping[Parts, int]) -> FieldCounts:
    """Counts images: part -> name of the file or column -> number of images."""
    counts: dict[str, Counter[str]] = {}
    for parts, n in found.items():
        for part, name in parts.taken:
            counts.setdefault(part, Counter())[name] += n
    return {part: _sorted(counts[part]) for part in sorted(counts)}


def count_unused_fields(found: Mapping[Parts, int]) -> dict[str, int]:
    """Counts images: name of an unused file or column -> number of images."""
    counts: Counter[str] = Counter()
    for parts, n in found.items():
        for name in parts.unused:
            counts[name] += n
    return _sorted(counts)


def merge_used_fields(shards: Iterable[FieldCounts]) -> FieldCounts:
    counts: dict[str, Counter[str]] = {}
    for taken in shards:
        for part, names in taken.items():
            counts.setdefault(part, Counter()).update(names)
    return {part: _sorted(counts[part]) for part in sorted(counts)}


def merge_unused_fields(shards: Iterable[dict[str, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for left in shards:
        counts.update(left)
    return _sorted(counts)


def describe_fields(taken: FieldCounts, left: dict[str, int], options: SourceOptions) -> dict[str, str]:
    """A description for the log; empty if each sample is an image and nothing else."""
    said = {part: _listed(names) for part, names in taken.items()}
    for part, key in (("caption", options.caption_key), ("label", options.label_key)):
        if key is not None and part not in taken:
            said[part] = f"nothing is called {key!r}"
    if left:
        said["not used"] = _listed(left)
    return {} if said.keys() <= {"image"} else said


def _listed(names: dict[str, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in sorted(names.items(), key=lambda one: (-one[1], one[0])))


def _sorted(counts: Counter[str]) -> dict[str, int]:
    """The commonest names in alphabetical order; all names beyond the limit are summed as `others`."""
    kept = dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_MAX_NAMES])
    n_others = counts.total() - sum(kept.values())
    if n_others:
        kept[_OTHERS] = kept.get(_OTHERS, 0) + n_others
    return dict(sorted(kept.items()))
