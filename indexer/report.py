"""The report of a run: what was left out, by reason, and what was kept although something was amiss."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.shard_output import ShardMarker
from scopeview.errors import TooManyBadImagesError
from scopeview.store.files import REPORT, write_json

_LISTED = 1000


@dataclass(frozen=True)
class Report:
    """Totals over all shards."""

    n_seen: int
    n_images: int
    skipped: dict[str, int]  # reason -> samples
    notes: dict[str, int]
    entries: list[dict[str, str]]  # shard, key, reason, detail of the first thousand; the shards hold all
    without_names: str | None = None  # why features could not be named; None where they are

    @property
    def n_skipped(self) -> int:
        return sum(self.skipped.values())

    def write(self, index_dir: Path) -> None:
        content: dict[str, Any] = {
            "n_seen": self.n_seen,
            "n_images": self.n_images,
            "skipped": self.skipped,
            "notes": self.notes,
            "entries": self.entries,
            "without_names": self.without_names,
        }
        write_json(index_dir / REPORT, content)

    def check(self, max_bad: float) -> None:
        """Raises `TooManyBadImagesError` when more than this share was left out, or nothing is left."""
        share = self.n_skipped / self.n_seen if self.n_seen else 1.0
        if share > max_bad or self.n_images == 0:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items()) or "no samples"
            raise TooManyBadImagesError(
                f"{self.n_skipped} of {self.n_seen} samples cannot be used ({reasons}): {share:.1%} where"
                f" --max-bad allows {max_bad:.1%}. {REPORT} lists them; what was encoded is kept"
            )


def summarize(markers: Sequence[ShardMarker], without_names: str | None = None) -> Report:
    bad = [{"shard": marker.name, **entry} for marker in markers for entry in marker.bad]
    notes = [note["reason"] for marker in markers for note in marker.notes]
    return Report(
        n_seen=sum(marker.n_seen for marker in markers),
        n_images=sum(marker.n_images for marker in markers),
        skipped=dict(sorted(Counter(entry["reason"] for entry in bad).items())),
        notes=dict(sorted(Counter(notes).items())),
        entries=bad[:_LISTED],
        without_names=without_names,
    )
