"""WebDataset tars: files side by side that share a name up to the first dot are one sample.

One tar is one shard. img2dataset's `SHARD_stats.json` beside a tar, written last, says how many samples
the tar must hold. Tars are read by the standard library (see `tar`), for the webdataset package ends a
truncated shard without a word.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from indexer.sources import metadata
from indexer.sources.digest import file_digest
from indexer.sources.groups import Group, group_members
from indexer.sources.keys import printable, unsafe_because
from indexer.sources.layout import archive_stem, stats_of
from indexer.sources.sample import MAX_IMAGE_BYTES, MAX_METADATA_BYTES, BadSample, Sample
from indexer.sources.tar import Cut, CutError, NotATarError, TarReader
from indexer.sources.unpack import Unpacked, unpacked
from scopeview.errors import BadReason


@dataclass(frozen=True)
class TarShard:
    path: Path
    stats_expected: bool = False
    """Other tars of the source have a `_stats.json`, so one without was perhaps never finished."""
    own_name: str | None = None
    """None: the file's."""

    @property
    def name(self) -> str:
        return self.own_name or archive_stem(self.path.name)

    def fingerprint(self) -> str:
        return file_digest(self.path)

    def samples(self) -> Iterator[Sample | BadSample]:
        """Every sample before a cut, then what is wrong with the tar itself."""
        try:
            with unpacked(self.path) as plain, closing(TarReader(plain.path)) as tar:
                yield from _TarSamples(self, tar, plain)
        except (NotATarError, CutError, OSError) as error:
            yield self.complaint(BadReason.UNREADABLE_SHARD, f"{self.path.name}: {error}")

    def complaint(self, reason: BadReason, detail: str) -> BadSample:
        return BadSample(printable(self.name), reason, detail)


@dataclass
class _TarSamples:
    """One pass over one tar."""

    shard: TarShard
    tar: TarReader
    plain: Unpacked
    seen: set[str] = field(default_factory=set)
    n_samples: int = 0

    def __iter__(self) -> Iterator[Sample | BadSample]:
        held: Group | None = None  # one behind, because a cut may have reached into it
        suffixes: set[str] = set()
        for group in group_members(self.tar):
            if isinstance(group, Cut):
                yield from self._end_early(held, suffixes, group)
                return
            if held:
                yield from self._convert(held)
                suffixes = held.suffixes
            held = group
        if held:
            yield from self._convert(held)
        if self.plain.problem:
            detail = f"{self.shard.path.name}: {self.plain.problem} after {self.n_samples} samples"
            yield self.shard.complaint(BadReason.TRUNCATED_SHARD, detail)
            return
        yield from self._check_stats()

    def _end_early(self, held: Group | None, suffixes: set[str], cut: Cut) -> Iterator[Sample | BadSample]:
        """The last sample is kept if whole: all its bytes, and every file that the one before it had."""
        lost = ""
        if held and suffixes and held.suffixes >= suffixes and self._is_whole(held):
            yield from self._convert(held)
        elif held:
            lost = f", and {printable(held.key)} is lost"
        detail = f"{self.shard.path.name} breaks off at byte {cut.offset} ({cut.what}): "
        yield self.shard.complaint(
            BadReason.TRUNCATED_SHARD, f"{detail}{self.n_samples} samples before it were read{lost}"
        )

    def _is_whole(self, group: Group) -> bool:
        try:
            for _, member in group.files:
                if member.is_plain and member.size <= MAX_IMAGE_BYTES:
                    self.tar.read(member)
        except CutError:
            return False
        return True

    def _convert(self, group: Group) -> Iterator[Sample | BadSample]:
        self.n_samples += 1
        key = f"{self.shard.name}/{group.key}"
        refused = self._refuse(key, group)
        if refused:
            yield refused
            return
        self.seen.add(key)
        image, *others = group.images()
        for other in others:
            detail = f"{printable(other.name)}: a second image beside {printable(image.name)}"
            yield BadSample(key, BadReason.DUPLICATE_KEY, detail)
        described = self._describe(group)
        yield Sample(key, self.tar.read(image), **described._asdict())

    def _refuse(self, key: str, group: Group) -> BadSample | None:
        where = f"{self.shard.path.name}: {printable(group.key)}"
        unsafe = unsafe_because(key) or unsafe_because(group.key)
        images = group.images()
        if unsafe:
            return BadSample(printable(key), BadReason.UNSAFE_KEY, f"{where}: {unsafe}")
        if key in self.seen:
            return BadSample(
                key, BadReason.DUPLICATE_KEY, f"{where} came before; its files must lie side by side"
            )
        if not images:
            kinds = ", ".join(sorted(printable(suffix) for suffix in group.suffixes))
            return BadSample(key, BadReason.NO_IMAGE, f"{where} has no image among its files ({kinds})")
        if images[0].size == 0:
            return BadSample(key, BadReason.EMPTY, f"{where}: the image has 0 bytes")
        if images[0].size > MAX_IMAGE_BYTES:
            detail = f"{where}: {images[0].size} bytes, at most {MAX_IMAGE_BYTES} are read"
            return BadSample(key, BadReason.TOO_LARGE, detail)
        return None

    def _describe(self, group: Group) -> metadata.Metadata:
        files = [group.first(suffix) for suffix in ("json", "txt", "cls")]
        is_large = any(file is not None and file.size > MAX_METADATA_BYTES for file in files)
        contents = [
            self.tar.read(file) if file is not None and file.size <= MAX_METADATA_BYTES else None
            for file in files
        ]
        described = metadata.from_files(*contents)
        return described._replace(note=BadReason.BAD_METADATA) if is_large else described

    def _check_stats(self) -> Iterator[BadSample]:
        """img2dataset's own count against what was found."""
        path = stats_path(self.shard.path)
        if not path.is_file():
            if self.shard.stats_expected:
                detail = f"{path.name} is missing, so {self.shard.path.name} was perhaps never finished"
                yield self.shard.complaint(BadReason.TRUNCATED_SHARD, detail)
            return
        expected = _read_successes(path)
        if expected is None:
            yield self.shard.complaint(BadReason.BAD_METADATA, f"{path.name} has no count of successes")
        elif expected != self.n_samples:
            detail = f"{path.name} counts {expected} samples, {self.shard.path.name} holds {self.n_samples}"
            yield self.shard.complaint(BadReason.TRUNCATED_SHARD, detail)


def stats_path(tar: Path) -> Path:
    return tar.with_name(stats_of(tar.name))


def _read_successes(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            stats = json.loads(file.read(MAX_METADATA_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    successes = stats.get("successes") if isinstance(stats, dict) else None
    return successes if isinstance(successes, int) else None
