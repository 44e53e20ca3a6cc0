"""The steps of a synthetic index, each doing only what is missing. Only shards and grids are its own."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.synthetic.codes import law_of
from bench.synthetic.described import describe
from bench.synthetic.images import sprites, thumbs
from bench.synthetic.shards import write_shard
from bench.synthetic.spec import Spec, claim, manifest_of
from indexer.build import BuildPlan, build_database, work_dir
from indexer.describe.rows import write_rows
from indexer.run_config import locked
from indexer.shard_writer import read_marker
from indexer.sprites import write_grids
from scopeview.progress import task
from scopeview.slots import Slot
from scopeview.store.files import grid_pack
from scopeview.store.manifest import Manifest, write_manifest
from scopeview.store.pack import offsets_path, write_pack
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES


def make(index_dir: Path, spec: Spec, slug: str = "synthetic") -> Manifest:
    """Makes an index, or finishes an interrupted one. Raises `ConfigMismatchError` for another spec."""
    with locked(index_dir):
        plan = make_shards(index_dir, spec)
        build_database(plan, index_dir / spec.database)
        manifest = manifest_of(spec, slug)
        described = manifest.model_copy(update={"describe": describe(index_dir, spec, manifest)})
        _rows(index_dir, spec, described)
        _grids(index_dir, spec, described)
        write_manifest(index_dir, described)
        shutil.rmtree(work_dir(index_dir), ignore_errors=True)
    return described


def make_shards(index_dir: Path, spec: Spec) -> BuildPlan:
    """Writes the shards that encode would write, ready to be built."""
    index_dir.mkdir(parents=True, exist_ok=True)
    claim(index_dir, spec)
    missing = [shard for shard in range(len(spec.shard_sizes)) if not read_marker(index_dir, shard)]
    if missing:
        laws = {slot: law_of(slot, spec.n_features, spec.seed) for slot in spec.slots}
        images = thumbs(spec.seed)
        done = spec.n_images - sum(spec.shard_sizes[shard] for shard in missing)
        with task("shards", spec.n_images, "images", done=done) as progress:
            for shard in missing:
                write_shard(index_dir, spec, laws, images, shard)
                progress.advance(spec.shard_sizes[shard])
    return plan_of(index_dir, spec)


def plan_of(index_dir: Path, spec: Spec) -> BuildPlan:
    """Returns the plan of a build whose shards all exist."""
    markers = [marker for i in range(len(spec.shard_sizes)) if (marker := read_marker(index_dir, i))]
    assert len(markers) == len(spec.shard_sizes)
    return BuildPlan(index_dir, markers, spec.slots, spec.widths)


def _rows(index_dir: Path, spec: Spec, manifest: Manifest) -> None:
    with IndexReader(index_dir, manifest) as reader, task("rows", len(spec.slots), "slots") as progress:
        for slot in spec.slots:
            write_rows(reader, slot)
            progress.advance()


def _grids(index_dir: Path, spec: Spec, manifest: Manifest) -> None:
    n_features = len(spec.slots) * spec.n_features
    drawn = [] if spec.own_grids else sprites(spec.seed, thumbs(spec.seed))
    with (
        IndexReader(index_dir, manifest) as reader,
        ThreadPoolExecutor() as pool,
        task("grids", n_features, "features") as progress,
    ):
        for slot in spec.slots:
            if spec.own_grids:
                write_grids(reader, slot, pool, progress.advance)
                continue
            path = grid_pack(index_dir, slot)
            if not offsets_path(path).exists():
                write_pack(path, _drawn_sprites(reader, slot, drawn))
            progress.advance(spec.n_features)


def _drawn_sprites(reader: IndexReader, slot: Slot, drawn: list[bytes]) -> Iterator[bytes | None]:
    rows = reader.sql(
        "SELECT n_active FROM features WHERE layer = $layer AND token = $token ORDER BY feature",
        {"layer": str(slot.layer), "token": slot.token},
    )
    for feature, (n_active,) in enumerate(rows):
        yield drawn[feature % len(drawn)] if n_active >= MIN_GRID_IMAGES else None
