"""The configuration of one indexer run, kept in `run.json` so that only the same run can be resumed.

It holds everything that affects the index, with weights and images as digests. Settings that affect only how
the run proceeds (batch size, device, the folder's mount point) are not compared.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from indexer.sources import Source, SourceOptions
from scopeview.errors import ConfigMismatchError, DamagedError, InputError
from scopeview.images import Grey16
from scopeview.model_spec import Recipe
from scopeview.slots import Token
from scopeview.store.files import LOCK, MANIFEST, RUN, read_sealed_json, write_sealed_json

CONFIG_VERSION = 2
_READING_RULES = "2"  # another number where the same files give other captions, labels or keys


@dataclass(frozen=True)
class RunConfig:
    """Two runs with equal configs make the same index."""

    slug: str
    source_kind: Literal["folder", "webdataset", "parquet"]
    shards: list[list[str]]  # [name, fingerprint] of every shard, in order
    model: str  # sha256 of the weights
    preprocessing: dict[str, Any]
    layers: list[str]  # in the order of the index
    saes: dict[str, str]  # layer -> sha256 of the weights
    tokens: list[Token]
    normalization: dict[str, str]  # layer -> none or standardize
    calibration_images: int
    limit: int | None
    dtype: Literal["float32", "bfloat16"]
    thumb_px: int
    vocabulary: str  # sha256 of the words that features are named after
    blocklist: str | None = None  # digest of its rules; None without any
    stated: dict[str, Any] | None = None  # of SAEs whose files do not say it, as keywords of `Stated`
    reading: dict[str, str] = field(default_factory=lambda: reading_of(SourceOptions()))
    """The rules by which samples are read, and the names of parts that the user asked for."""
    version: int = CONFIG_VERSION


@dataclass(frozen=True)
class WeightRefs:
    """The locations of the weights: stored beside the config, not compared, used again to encode uploads."""

    model: str
    sae: str


def weight_refs(recipe: Recipe) -> WeightRefs:
    """Hub ids pinned to the commit that was used, local folders as absolute paths."""
    suite = recipe.suite
    pinned = _pinned(suite.repo_id, suite.revision, suite.within)
    return WeightRefs(
        model=_pinned(recipe.model.repo_id, recipe.model.revision) or str(recipe.model.path.resolve()),
        sae=pinned or str(Path(suite.ref).expanduser().resolve()),
    )


def stated_of(recipe: Recipe) -> dict[str, Any] | None:
    """The command line's statements about the SAEs; None if there are none."""
    return {name: value for name, value in recipe.stated._asdict().items() if value is not None} or None


def _pinned(repo_id: str | None, revision: str | None, within: str | None = None) -> str | None:
    part = f":{within}" if within else ""
    return f"{repo_id}@{revision}{part}" if repo_id else None


def reading_of(options: SourceOptions) -> dict[str, str]:
    """The options that affect how samples are read; which files are read follows from the list of shards."""
    keys = {"image": options.image_key, "caption": options.caption_key, "label": options.label_key}
    return {"rules": _READING_RULES} | {part: key for part, key in keys.items() if key is not None}


def shard_list(source: Source) -> list[list[str]]:
    return [[shard.name, shard.fingerprint()] for shard in source.shards]


@contextmanager
def locked(index_dir: Path) -> Iterator[None]:
    """Holds a lock on the folder during the block. Raises `InputError` if another writer holds it."""
    try:
        index_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"--out {index_dir} is no folder, or lies below a file; choose another") from None
    try:
        with FileLock(index_dir / LOCK, timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"{index_dir} is being written by another run; wait for it, or choose another --out"
        ) from None


def check_resumable(index_dir: Path, config: RunConfig) -> None:
    """Checks that this run may start or resume in this folder.

    Raises `ConfigMismatchError` naming what differs, and `InputError` for a folder with other content.
    """
    path = index_dir / RUN
    if path.exists():
        before, now = _read_config(path), json.loads(json.dumps(asdict(config)))
        if not is_finished(index_dir):
            before["vocabulary"] = now["vocabulary"]  # nothing that is kept until then depends on the words
        _check_same(path, before, now)
    elif strange := _unknown_files(index_dir):
        raise InputError(
            f"{index_dir} is not empty and holds no run to resume (found {strange}); choose another --out"
        )


def recorded_grey_16_bit(index_dir: Path) -> Grey16:
    """The conversion of 16-bit greyscale that this folder's run began with; "scaled" for a new folder."""
    path = index_dir / RUN
    if not path.exists():
        return "scaled"
    return "scaled" if _read_config(path)["preprocessing"]["grey_16_bit"] == "scaled" else "clipped"


def begin(index_dir: Path, config: RunConfig, refs: WeightRefs) -> None:
    """Writes the run's record; from then on only this run can use the folder."""
    write_sealed_json(index_dir / RUN, {"config": asdict(config), "weights": asdict(refs)})


def record_vocabulary(index_dir: Path, sha256: str) -> None:
    """Records the words that the finished index is described with. Raises `InputError` without a record."""
    path = index_dir / RUN
    changed = {"vocabulary": sha256, "version": CONFIG_VERSION}
    config = {**_read_config(path), **changed}
    write_sealed_json(path, {**read_sealed_json(path, dict), "config": config})


def is_finished(index_dir: Path) -> bool:
    return (index_dir / MANIFEST).exists()


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = read_sealed_json(path, lambda record: dict(record["config"]))
        # Before it was recorded, 16-bit greyscale was cut off.
        config["preprocessing"] = {"grey_16_bit": "clipped", **config["preprocessing"]}
        return config
    except (DamagedError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not the record of a run ({error!r}); choose another --out, or remove the folder"
        ) from error


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise ConfigMismatchError(
                f"{path}: this folder was begun with another {name}: {_shown(name, before, now)}; "
                f"{_advice(name)}"
            )


def _advice(name: str) -> str:
    begin_again = "choose another --out, or remove the folder to begin again"
    if name == "vocabulary":
        return f"change the words of a finished index by 'scopeview describe', or {begin_again}"
    return begin_again


def _shown(name: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    then, today = before.get(name), now.get(name)
    if name == "shards":
        then, today = dict(before[name]), dict(now[name])
        changed = _changed(then, today)
        return f"{len(changed)} of {len(today)} differ, first {changed[0] if changed else 'their order'}"
    if isinstance(then, dict) and isinstance(today, dict):
        return "; ".join(
            f"{key}: then {then.get(key)!r}, now {today.get(key)!r}" for key in _changed(then, today)
        )
    return f"then {then!r}, now {today!r}"


def _changed(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [key for key in {**then, **now} if then.get(key) != now.get(key)]


def _unknown_files(index_dir: Path) -> str:
    """Files that an earlier run, killed before it wrote its record, cannot have left."""
    mine = (LOCK, f"{RUN}.part")
    return ", ".join(sorted(path.name for path in index_dir.iterdir() if path.name not in mine)[:3])
