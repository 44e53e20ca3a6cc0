"""The report of a run: which samples were left out, by reason, and which were kept despite a problem."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.parts import FieldCounts, merge_unused_fields, merge_used_fields
from indexer.shard_writer import ShardMarker
from indexer.sources.unused import Unused
from scopeview.errors import BadReason, TooManyBadImagesError
from scopeview.store.files import REPORT, TOMBSTONES, atomic_write, write_json

_LISTED = 1000


@dataclass(frozen=True)
class RunReport:
    """Totals over all shards."""

    n_seen: int  # with those that are known to be lost with a shard
    n_images: int
    skipped: dict[str, int]  # reason -> samples
    notes: dict[str, int]
    entries: list[dict[str, Any]]  # shard, key, reason, detail, n_samples of the first thousand
    without_names: str | None = None  # why features could not be named; None where they are
    tombstones: list[dict[str, str]] = field(default_factory=list)  # key, sha256, rule of what was blocked
    unused: dict[str, dict[str, Any]] = field(default_factory=dict)  # reason -> files, examples
    taken: FieldCounts = field(default_factory=dict)  # caption, ... -> file or column -> images
    left: dict[str, int] = field(default_factory=dict)  # file or column of a sample, not used -> images

    @property
    def n_skipped(self) -> int:
        """The number of unusable samples. Blocked images are left out on purpose and do not count."""
        return sum(self.skipped.values()) - len(self.tombstones)

    def write(self, index_dir: Path) -> None:
        content: dict[str, Any] = {
            "n_seen": self.n_seen,
            "n_images": self.n_images,
            "skipped": self.skipped,
            "notes": self.notes,
            "entries": self.entries,
            "without_names": self.without_names,
            "unused": self.unused,
            "taken": self.taken,
            "left": self.left,
        }
        write_json(index_dir / REPORT, content)
        if self.tombstones:
            with atomic_write(index_dir / TOMBSTONES) as part:
                part.write_text("".join(map(_tombstone, self.tombstones)), encoding="utf-8")

    def check(self, max_bad_fraction: float) -> None:
        """Raises `TooManyBadImagesError` if more than this share was left out, or no image is left."""
        share = self.n_skipped / self.n_seen if self.n_seen else 1.0
        if share > max_bad_fraction or self.n_images == 0:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items()) or "no samples"
            raise TooManyBadImagesError(
                f"{self.n_skipped} of {self.n_seen} samples cannot be used ({reasons}): {share:.1%} where"
                f" --max-bad-fraction allows {max_bad_fraction:.1%}. {REPORT} lists them; shards are kept"
            )


def summarize(
    markers: Sequence[ShardMarker], without_names: str | None = None, unused: Sequence[Unused] = ()
) -> RunReport:
    """Sums up a run; `unused` are the files under the source that belong to no shard."""
    tombstones = [{"shard": marker.name, **entry} for marker in markers for entry in marker.blocked]
    bad = [{"shard": marker.name, **entry} for marker in markers for entry in marker.bad]
    reasons: Counter[str] = Counter()
    for entry in bad:
        reasons[entry["reason"]] += entry.get("n_samples", 1)
    n_lost = sum(entry.get("n_samples", 1) - 1 for entry in bad)  # each entry is among those seen, once
    notes = [note["reason"] for marker in markers for note in marker.notes]
    return RunReport(
        n_seen=sum(marker.n_seen for marker in markers) + n_lost,
        n_images=sum(marker.n_images for marker in markers),
        skipped=dict(sorted((reasons + Counter({BadReason.BLOCKED: len(tombstones)})).items())),
        notes=dict(sorted(Counter(notes).items())),
        entries=bad[:_LISTED],
        without_names=without_names,
        tombstones=tombstones,
        unused={one.reason: {"files": one.n, "examples": list(one.examples)} for one in unused},
        taken=merge_used_fields(marker.taken for marker in markers),
        left=merge_unused_fields(marker.unused for marker in markers),
    )


def describe_unused(unused: Sequence[Unused]) -> dict[str, str]:
    """A dict of reason -> count and examples, such as `12 (a.md, b.md, ...)`."""
    return {one.reason: f"{one.n} ({', '.join([*one.examples, *_more(one)])})" for one in unused}


def _more(unused: Unused) -> list[str]:
    return ["..."] if unused.n > len(unused.examples) else []


def _tombstone(entry: dict[str, str]) -> str:
    """A line that is also valid in a block-list: there, it blocks the same file wherever it occurs again."""
    return f"{entry['sha256']}  # {entry['key']}, by the rule {entry['rule']}\n"
