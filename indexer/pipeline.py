"""The runner: calibrate, encode, build, describe, grids, manifest. Each step does only what is missing.

`_plan` finds everything that can be wrong with the input, before any weight is loaded onto a device.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from indexer.batching import compile_if_cuda, find_batch_size
from indexer.build import (
    BuildPlan,
    LayerWidth,
    build_database,
    build_slots,
    check_memory_limit,
    work_dir,
)
from indexer.calibrate import CalibrationSet, NoUsableImagesError, calibrated_saes, read_figures
from indexer.checksums import with_files
from indexer.describe.plan import DescribePlan
from indexer.describe.redescribe import remove_stale_files
from indexer.describe.stage import describe
from indexer.disk_space import building_needs, disk_full_guard, encoding_needs
from indexer.encode import ShardEncoder, encode_shards
from indexer.on_ray import RaySettings, build_slots_on_ray, encode_on_ray
from indexer.parts import describe_fields
from indexer.provenance import manifest_of, run_digest
from indexer.remote_worker import EncodeJob, weights_of
from indexer.report import RunReport, describe_unused, summarize
from indexer.run_config import (
    RunConfig,
    begin,
    check_resumable,
    is_finished,
    locked,
    reading_of,
    recorded_grey_16_bit,
    shard_list,
    stated_of,
    weight_refs,
)
from indexer.shard_writer import ShardMarker, read_marker
from indexer.sources import Source, SourceOptions, open_source
from indexer.sources.remote import is_url
from indexer.sprites import write_grids
from indexer.storage import Storage, check_shared_storage, storage_for
from scopeview.blocklist import Rules, read_rules
from scopeview.errors import InputError
from scopeview.importers import NOTHING_STATED, Stated
from scopeview.model_spec import Dtype, Recipe, pick_batch_size, pick_device, plan_recipe
from scopeview.progress import log_event, task
from scopeview.sae.autoencoder import Sae
from scopeview.sae.forms import Normalization
from scopeview.slots import Layer, Slot, Token, slots_of
from scopeview.store.manifest import Manifest, read_manifest, write_manifest
from scopeview.store.reader import IndexReader
from scopeview.store.slug import check_slug
from scopeview.vision.clip import Clip
from scopeview.vision.encoder import Encoder
from scopeview.vision.precision import Precision, choose_precision
from scopeview.vision.text import text_folder, text_problem
from scopeview.vision.vocabulary import Vocabulary, read_vocabulary

DEFAULT_CALIBRATION_IMAGES = 512
DEFAULT_MAX_BAD_FRACTION = 0.1
MAX_THUMB_PX = 256
_MAX_CALIBRATION_BATCH = 256  # all tokens of all layers are in memory at once


@dataclass(frozen=True)
class IndexRequest:
    """The options of `scopeview index`."""

    source: Path | str  # a path, or a URL
    model: str  # Hugging Face id (with @revision) or local folder
    sae: str
    out: Path
    layers: Sequence[Layer] | None = None  # None: every layer that the suite has
    tokens: Sequence[Token] | None = None  # None: CLS and the patch in the middle of the image
    normalization: Normalization | None = None  # None: each SAE's own
    stated: Stated = NOTHING_STATED  # what the SAEs' files do not say
    force_model: bool = False  # use SAEs that were trained on another model
    slug: str | None = None  # None: the name of the out folder
    limit: int | None = None  # samples, good or bad; None: all
    device: str = "auto"
    dtype: Dtype | Literal["auto"] = "auto"  # bfloat16 where the hardware multiplies it natively
    batch_size: int | None = None  # None: what the device's memory takes
    calibration_images: int = DEFAULT_CALIBRATION_IMAGES
    max_bad_fraction: float = DEFAULT_MAX_BAD_FRACTION  # largest share of samples that may be left out
    memory_limit: str | None = None  # for DuckDB, such as "8GB"
    vocabulary: Path | None = None  # words to name features after; None: the general ones
    blocklist: Path | None = None  # images to leave out
    reading: SourceOptions = field(default_factory=SourceOptions)
    engine: Literal["local", "ray"] = "local"
    shared_storage: str | None = None  # URL where workers leave shards; None: they all see `out` at its path
    ray: RaySettings = field(default_factory=RaySettings)


class _Plan(NamedTuple):
    source: Source
    recipe: Recipe
    config: RunConfig
    device: str
    precision: Precision
    rules: Rules
    vocabulary: Vocabulary


class _Weights(NamedTuple):
    saes: dict[Layer, Sae]
    clip: Clip


def run_index(request: IndexRequest) -> Manifest:
    """Makes or resumes the index, or finds it finished. Raises an `InputError` before any device work."""
    plan = _plan(request)
    with locked(request.out):
        check_resumable(request.out, plan.config)
        done = {number: read_marker(request.out, number) for number in range(len(plan.source.shards))}
        # Before anything is written: a run that is refused for its weights leaves no record to disagree with.
        weights = None if all(done.values()) else _load(plan)
        begin(request.out, plan.config, weight_refs(plan.recipe))
        if is_finished(request.out):
            _remove_build_files(request.out)
            return read_manifest(request.out)
        _log_unused(plan.source)
        _log_warnings(plan.recipe)
        without_names = _check_text_tower(plan)
        markers = [marker for marker in done.values() if marker]
        if weights is not None:
            markers = _encode(request, plan, weights, done)
            weights = None  # gigabytes that the rest of the run has other uses for
        report = summarize(markers, without_names, plan.source.unused)
        report.write(request.out)
        report.check(request.max_bad_fraction)
        with disk_full_guard(request.out, lambda: building_needs(request.out)):
            manifest = _finish(request, plan, markers, report)
        _log_unused(plan.source)
        if said := describe_fields(report.taken, report.left, request.reading):
            log_event("read", said)
        return manifest


def _plan(request: IndexRequest) -> _Plan:
    slug = check_slug(request.slug or request.out.resolve().name)
    device = pick_device(request.device)
    precision = choose_precision(request.dtype, device)
    check_memory_limit(request.memory_limit)
    vocabulary = read_vocabulary(request.vocabulary)
    rules = read_rules(request.blocklist) if request.blocklist else Rules()
    _check_engine(request)
    source = open_source(request.source, options=request.reading)
    _check_out_is_outside(source, request.out)
    recipe = plan_recipe(
        request.model,
        request.sae,
        layers=request.layers,
        tokens=request.tokens,
        normalization=request.normalization,
        stated=request.stated,
        force_model=request.force_model,
    ).with_grey_16_bit(recorded_grey_16_bit(request.out))
    config = RunConfig(
        slug=slug,
        source_kind=source.kind,
        shards=shard_list(source),
        model=recipe.model_sha256,
        preprocessing=recipe.preprocessing.to_dict(),
        layers=[str(layer) for layer in recipe.layers],
        saes={str(sae.layer): sae.config.sha256 for sae in recipe.suite.sources},
        tokens=list(recipe.tokens),
        normalization={str(layer): how for layer, how in recipe.normalization.items()},
        calibration_images=request.calibration_images,
        limit=request.limit,
        dtype=precision.dtype,
        thumb_px=min(recipe.info.image_px, MAX_THUMB_PX),
        vocabulary=vocabulary.sha256,
        blocklist=rules.digest or None,
        stated=stated_of(recipe),
        reading=reading_of(request.reading),
    )
    return _Plan(source, recipe, config, device, precision, rules, vocabulary)


def _check_engine(request: IndexRequest) -> None:
    if request.engine == "local" and (request.shared_storage is not None or request.ray != RaySettings()):
        raise InputError(
            "--shared-storage, --workers and --gpus-per-worker need --engine ray; add it or leave them out"
        )
    if request.shared_storage is not None:
        check_shared_storage(request.shared_storage)


def _check_out_is_outside(source: Source, out: Path) -> None:
    """Raises `InputError` for an index inside its source: the next run would index its images."""
    if out.resolve().is_relative_to(source.root.resolve()):
        raise InputError(f"--out {out} lies inside the images of {source.root}; choose a folder outside")


def _log_unused(source: Source) -> None:
    """Logs unused files: before encoding, so that a wrong source costs no time, and again at the end."""
    if source.unused:
        log_event("not indexed", describe_unused(source.unused))


def _load(plan: _Plan) -> _Weights:
    """Loads weights on the CPU. Raises an `InputError` for damaged weights or values that are not finite."""
    saes = plan.recipe.load_saes()
    return _Weights(saes, plan.recipe.load_clip(device=plan.device, dtype=plan.config.dtype))


def _log_warnings(recipe: Recipe) -> None:
    """Logs warnings after all input checks have passed, so that an error message stands alone."""
    for warning in recipe.warnings:
        log_event("warning", {"sae": warning})


def _check_text_tower(plan: _Plan) -> str | None:
    """Returns why features will have no names, or None; warns of it before the first image."""
    problem = text_problem(text_folder(plan.recipe.model), plan.vocabulary.words)
    if problem is not None:
        log_event("warning", {"names": f"features will have no names: {problem}"})
    return problem


def _encode(
    request: IndexRequest, plan: _Plan, weights: _Weights, done: Mapping[int, ShardMarker | None]
) -> list[ShardMarker]:
    """Every shard's marker; encodes the shards without one."""
    with disk_full_guard(request.out, lambda: encoding_needs(request.out, len(plan.source.shards))):
        saes = _load_calibrated(request, plan, weights)
        if request.engine == "ray" and saes is not None:
            return encode_on_ray(_job(request, plan, saes), request.ray, request.out, done, request.limit)
        # With nothing usable there is nothing to encode either, and the report will say why.
        encoder = Encoder(weights.clip, saes or weights.saes, plan.recipe.tokens)
        compiled = compile_if_cuda(encoder)
        batch_size = request.batch_size or find_batch_size(encoder)
        how = {"dtype": plan.precision.dtype, "because": plan.precision.because, "device": plan.device}
        log_event("encode", {**how, "batch_size": batch_size, "compiled": compiled})
        shards = ShardEncoder(encoder, thumb_px=plan.config.thumb_px, batch_size=batch_size, rules=plan.rules)
        with closing(shards):
            return encode_shards(request.out, shards, plan.source.shards, done, limit=request.limit)


def _job(request: IndexRequest, plan: _Plan, saes: Mapping[Layer, Sae]) -> EncodeJob:
    """The job description for workers, which load the weights themselves."""
    refs = weight_refs(plan.recipe)
    stats = {layer: sae.standardization for layer, sae in saes.items()}
    return EncodeJob(
        shards=plan.source.shards,
        storage=_storage(request, plan),
        model=refs.model,
        sae=refs.sae,
        weights=weights_of(plan.recipe),
        layers=plan.recipe.layers,
        tokens=plan.recipe.tokens,
        normalization=plan.recipe.normalization,
        statistics={layer: found.to("cpu") for layer, found in stats.items() if found is not None},
        device=request.device,
        dtype=plan.config.dtype,
        thumb_px=plan.config.thumb_px,
        batch_size=request.batch_size,
        rules=plan.rules,
        stated=plan.recipe.stated,
        grey_16_bit=plan.recipe.grey_16_bit,
    )


def _storage(request: IndexRequest, plan: _Plan) -> Storage:
    return storage_for(request.out, request.shared_storage, run_digest(plan.config))


def _load_calibrated(request: IndexRequest, plan: _Plan, weights: _Weights) -> dict[Layer, Sae] | None:
    """The calibrated SAEs; None if none of the images can be used."""
    batch_size = min(request.batch_size or pick_batch_size(plan.device), _MAX_CALIBRATION_BATCH)
    images = CalibrationSet(plan.source, request.calibration_images, request.limit, plan.rules)
    try:
        return calibrated_saes(request.out, images, plan.recipe, weights.clip, weights.saes, batch_size)
    except NoUsableImagesError:
        return None


def _finish(
    request: IndexRequest, plan: _Plan, markers: Sequence[ShardMarker], report: RunReport
) -> Manifest:
    widths = {sae.layer: LayerWidth(sae.config.n_features, sae.config.k) for sae in plan.recipe.suite.sources}
    slots = slots_of(plan.recipe.layers, plan.recipe.tokens)
    build = BuildPlan(request.out, markers, slots, widths, request.memory_limit)
    manifest = manifest_of(
        plan.recipe,
        plan.config,
        report,
        dataset=_dataset_name(request.source),
        device=plan.device,
        figures=read_figures(request.out),
    )
    build_database(build, request.out / manifest.database, _slot_engine(request, plan))
    described = DescribePlan(request.out, manifest, plan.recipe, plan.vocabulary, report.without_names)
    manifest = manifest.model_copy(update={"describe": describe(described)})
    _grids(request.out, manifest)
    manifest = with_files(request.out, manifest)
    write_manifest(request.out, manifest)
    remove_stale_files(described)
    _remove_build_files(request.out)
    return manifest


def _slot_engine(request: IndexRequest, plan: _Plan) -> Callable[[BuildPlan, Sequence[Slot]], Iterator[Slot]]:
    if request.engine == "local":
        return build_slots
    storage = _storage(request, plan)
    return lambda build, slots: build_slots_on_ray(build, slots, storage)


def _dataset_name(source: Path | str) -> str:
    """The source's name for the manifest: never a path of this machine."""
    return str(source).rstrip("/").rpartition("/")[2] if is_url(source) else Path(source).resolve().name


def _remove_build_files(index_dir: Path) -> None:
    """Removes the files that only building the index needs."""
    shutil.rmtree(work_dir(index_dir), ignore_errors=True)
    # Of workers that were lost while they handed a shard over.
    for part in (index_dir / "shards").glob("*.part"):
        shutil.rmtree(part, ignore_errors=True)


def _grids(index_dir: Path, manifest: Manifest) -> None:
    n_features = sum(record.n_features for slot in manifest.slots if (record := manifest.layer(slot.layer)))
    with (
        IndexReader(index_dir, manifest) as reader,
        ThreadPoolExecutor(thread_name_prefix="grids") as pool,
        task("grids", n_features, "features") as progress,
    ):
        for slot in manifest.slots:
            write_grids(reader, slot, pool, progress.advance)
