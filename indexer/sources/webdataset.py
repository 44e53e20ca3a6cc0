"""WebDataset tars: adjacent files that share a name up to the first dot are one sample.

One tar is one shard. img2dataset's `SHARD_stats.json` beside a tar, written last, says how many samples the
tar must hold. Tars are read by `tar`, not by the webdataset package, which ends a truncated shard without any
error.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from indexer.sources import metadata
from indexer.sources.digest import file_digest
from indexer.sources.groups import SampleFiles, group_members
from indexer.sources.keys import printable, unsafe_because
from indexer.sources.layout import archive_stem, stats_of, table_of
from indexer.sources.options import SourceOptions
from indexer.sources.sample import MAX_IMAGE_BYTES, MAX_METADATA_BYTES, BadSample, Sample
from indexer.sources.tar import Cut, CutError, Member, NotATarError, TarReader
from indexer.sources.unpack import Unpacked, unpacked
from scopeview.errors import BadReason

_STATUS = "status"


class Expected(NamedTuple):
    """The number of samples that a file beside a tar states."""

    file: str
    n_samples: int | None
    """None if the file does not state it."""
    is_exact: bool = True
    """False for a table without a status, which may list images never fetched: used for damaged tars only."""


def count_file(tar: Path) -> Path | None:
    """The file that states the number of samples in `tar`."""
    for name in (stats_of(tar.name), table_of(tar.name)):
        if (tar.parent / name).is_file():
            return tar.parent / name
    return None


def expected_samples(tar: Path) -> Expected | None:
    path = count_file(tar)
    if path is None:
        return None
    if path.name == stats_of(tar.name):
        return Expected(path.name, _successes(path))
    return _rows(path)


def _successes(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            stats = json.loads(file.read(MAX_METADATA_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    successes = stats.get("successes") if isinstance(stats, dict) else None
    return successes if isinstance(successes, int) else None


def _rows(path: Path) -> Expected | None:
    """The number of rows, without failures if the table has a `status`. None if the table cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            if _STATUS not in file.schema_arrow.names:
                return Expected(path.name, file.metadata.num_rows, is_exact=False)
            status = file.read([_STATUS]).column(_STATUS).cast(pa.string())
            return Expected(path.name, pc.sum(pc.equal(status, "success")).as_py() or 0)
    except (pa.ArrowException, OSError, ValueError):
        return None


@dataclass(frozen=True)
class TarShard:
    path: Path
    stats_expected: bool = False
    """True if other tars of the source have a `_stats.json`: a tar without one was perhaps never finished."""
    own_name: str | None = None
    """The shard's name; None: the file's name."""
    options: SourceOptions = field(default_factory=SourceOptions)

    @property
    def name(self) -> str:
        return self.own_name or archive_stem(self.path.name)

    def fingerprint(self) -> str:
        """A digest of the tar and of the file that states its number of samples."""
        counts = count_file(self.path)
        digests = file_digest(self.path), file_digest(counts) if counts else ""
        return sha256("".join(digests).encode()).hexdigest() if counts else digests[0]

    def samples(self) -> Iterator[Sample | BadSample]:
        """Yields every sample before a cut, then the problems of the tar itself."""
        n_samples = 0
        try:
            with unpacked(self.path) as plain, closing(TarReader(plain.path)) as tar:
                reading = _TarSamples(self, tar, plain)
                for sample in reading:
                    n_samples = reading.n_samples
                    yield sample
        except (NotATarError, CutError, OSError) as error:
            detail = f"{self.path.name}: {error}"
            yield self.complaint(BadReason.UNREADABLE_SHARD, detail, n_samples=self.n_lost(n_samples))

    def complaint(self, reason: BadReason, detail: str, *, n_samples: int = 1) -> BadSample:
        return BadSample(printable(self.name), reason, detail, n_samples)

    def n_lost(self, n_found: int) -> int:
        """The number of samples lost in a damaged tar, as far as it is known."""
        expected = expected_samples(self.path)
        return max(1, (expected.n_samples or 0) - n_found) if expected else 1


@dataclass
class _TarSamples:
    """One pass over one tar."""

    shard: TarShard
    tar: TarReader
    plain: Unpacked
    seen: set[str] = field(default_factory=set)
    n_samples: int = 0

    def __iter__(self) -> Iterator[Sample | BadSample]:
        held: SampleFiles | None = None  # one behind, because a cut may have reached into it
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
            yield self.shard.complaint(BadReason.TRUNCATED_SHARD, detail, n_samples=self._n_lost())
            return
        yield from self._check_count()

    def _end_early(
        self, held: SampleFiles | None, suffixes: set[str], cut: Cut
    ) -> Iterator[Sample | BadSample]:
        """Keeps the last sample only if it is complete and has every file that the one before it had."""
        lost = ""
        if held and suffixes and held.suffixes >= suffixes and self._is_whole(held):
            yield from self._convert(held)
        elif held:
            lost = f", and {printable(held.key)} is lost"
        detail = f"{self.shard.path.name} breaks off at byte {cut.offset} ({cut.what}): "
        yield self.shard.complaint(
            BadReason.TRUNCATED_SHARD,
            f"{detail}{self.n_samples} samples before it were read{lost}",
            n_samples=self._n_lost(),
        )

    def _is_whole(self, group: SampleFiles) -> bool:
        try:
            for _, member in group.files:
                if member.is_plain and member.size <= MAX_IMAGE_BYTES:
                    self.tar.read(member)
        except CutError:
            return False
        return True

    def _convert(self, group: SampleFiles) -> Iterator[Sample | BadSample]:
        self.n_samples += 1
        key = f"{self.shard.name}/{group.key}"
        refused = self._refuse(key, group)
        if refused:
            yield refused
            return
        self.seen.add(key)
        (suffix, image), *others = self._images(group)
        for name, other in others:
            if name == suffix:
                detail = f"{printable(other.name)}: a second image beside {printable(image.name)}"
                yield BadSample(key, BadReason.DUPLICATE_KEY, detail)
        record = metadata.Record()
        record.there(name for name, _ in group.files)
        record.take("image", suffix)
        described = self._describe(group, record)
        yield Sample(key, self.tar.read(image), **described._asdict(), parts=record.parts())

    def _images(self, group: SampleFiles) -> list[tuple[str, Member]]:
        return group.images(self.shard.options.image_key)

    def _refuse(self, key: str, group: SampleFiles) -> BadSample | None:
        where = f"{self.shard.path.name}: {printable(group.key)}"
        unsafe = unsafe_because(key) or unsafe_because(group.key)
        images = [member for _, member in self._images(group)]
        if unsafe:
            return BadSample(printable(key), BadReason.UNSAFE_KEY, f"{where}: {unsafe}")
        if key in self.seen:
            return BadSample(
                key, BadReason.DUPLICATE_KEY, f"{where} came before; its files must lie side by side"
            )
        if not images:
            kinds = ", ".join(sorted(printable(suffix) for suffix in group.suffixes))
            named = f" called {self.shard.options.image_key!r}" if self.shard.options.image_key else ""
            return BadSample(
                key, BadReason.NO_IMAGE, f"{where} has no image{named} among its files ({kinds})"
            )
        if images[0].size == 0:
            return BadSample(key, BadReason.EMPTY, f"{where}: the image has 0 bytes")
        if images[0].size > MAX_IMAGE_BYTES:
            detail = f"{where}: {images[0].size} bytes, at most {MAX_IMAGE_BYTES} are read"
            return BadSample(key, BadReason.TOO_LARGE, detail)
        return None

    def _describe(self, group: SampleFiles, record: metadata.Record) -> metadata.Metadata:
        options = self.shard.options
        label = (options.label_key or "").lower()
        names = (
            "json",
            group.text_suffix(options.caption_key) or "txt",
            label if label in group.suffixes else "cls",
        )
        files = [group.first(suffix) for suffix in names]
        is_large = any(file is not None and file.size > MAX_METADATA_BYTES for file in files)
        contents = [
            self.tar.read(file) if file is not None and file.size <= MAX_METADATA_BYTES else None
            for file in files
        ]
        described = metadata.from_files(*contents, names=names, options=options, record=record)
        if contents[0] is not None:
            record.take("metadata", "json")
        return described._replace(note=BadReason.BAD_METADATA) if is_large else described

    def _check_count(self) -> Iterator[BadSample]:
        """Compares the number of samples with the count beside the tar."""
        expected, stats = expected_samples(self.shard.path), stats_of(self.shard.path.name)
        if self.shard.stats_expected and (expected is None or expected.file != stats):
            detail = f"{stats} is missing, so {self.shard.path.name} was perhaps never finished"
            yield self.shard.complaint(BadReason.TRUNCATED_SHARD, detail, n_samples=self._n_lost())
        elif expected is None or not expected.is_exact:
            return
        elif expected.n_samples is None:
            yield self.shard.complaint(BadReason.BAD_METADATA, f"{stats} has no count of successes")
        elif expected.n_samples != self.n_samples:
            detail = f"{expected.file} counts {expected.n_samples} samples, {self.shard.path.name} holds"
            yield self.shard.complaint(
                BadReason.TRUNCATED_SHARD, f"{detail} {self.n_samples}", n_samples=self._n_lost()
            )

    def _n_lost(self) -> int:
        return self.shard.n_lost(self.n_samples)
