"""`index`, `describe`, `calibrate`, `verify` and `info`: make an index of an image set and inspect it."""

from pathlib import Path
from typing import Annotated

import typer

from scopeview.cli.options import (
    Architecture,
    Device,
    Dtype,
    DtypeChoice,
    EngineChoice,
    FollowLinks,
    ForceModel,
    ImageKey,
    K,
    Layers,
    Model,
    Normalization,
    Sae,
    SourceKind,
    Tokens,
    Vocabulary,
    parse_layers,
    parse_stated,
    parse_tokens,
)
from scopeview.errors import ScopeviewError
from scopeview.signals import RESUMES, STARTS_OVER, if_stopped


@if_stopped(RESUMES)
def index(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of images, WebDataset tars or Parquet files; or a URL such as hf://datasets/..."
        ),
    ],
    model: Model,
    sae: Sae,
    out: Annotated[Path, typer.Option(help="Index folder; an unfinished run is resumed.")],
    layers: Layers = None,
    tokens: Tokens = None,
    normalization: Normalization = None,
    architecture: Architecture = None,
    k: K = None,
    force_model: ForceModel = False,
    slug: Annotated[str | None, typer.Option(help="First URL segment. Default: the name of --out.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    device: Device = "auto",
    dtype: Dtype = DtypeChoice.auto,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per forward pass. Default: what fits in memory.")
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Images used for normalization statistics and reconstruction metrics.")
    ] = 512,
    max_bad_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Fail if a larger fraction of the images is unusable.")
    ] = 0.1,
    memory_limit: Annotated[str | None, typer.Option(help="Memory for DuckDB, for example 8GB.")] = None,
    vocabulary: Vocabulary = None,
    blocklist: Annotated[
        Path | None,
        typer.Option(
            help="File of images to leave out: one sha256, URL or domain per line.", show_default=False
        ),
    ] = None,
    source_kind: SourceKind = None,
    follow_links: FollowLinks = False,
    image_key: ImageKey = None,
    caption_key: Annotated[
        str | None,
        typer.Option(help="Column, JSON field or suffix that holds the caption.", show_default=False),
    ] = None,
    label_key: Annotated[
        str | None,
        typer.Option(
            help="The same for the label; 'folder' uses the name of the image's folder.", show_default=False
        ),
    ] = None,
    engine: Annotated[EngineChoice, typer.Option(help="ray: run on the cluster at RAY_ADDRESS.")] = (
        EngineChoice.local
    ),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray workers. Default: as many as the cluster has room for.")
    ] = None,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, help="GPUs per Ray worker, for example 1 or 0.5.")
    ] = 0.0,
    shared_storage: Annotated[
        str | None,
        typer.Option(
            help="Storage that all Ray workers reach, for example s3://bucket/x. Default: --out, which every"
            " machine must then see."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = True,  # runs always resume
) -> None:
    """Run images through CLIP and its SAEs and write a browsable index."""
    assert resume
    from indexer.on_ray import RaySettings
    from indexer.pipeline import IndexRequest, run_index
    from indexer.sources import SourceOptions
    from scopeview.cli.info import print_info

    manifest = run_index(
        IndexRequest(
            source=source,
            model=model,
            sae=sae,
            out=out,
            layers=parse_layers(layers),
            tokens=parse_tokens(tokens),
            normalization=normalization.value if normalization else None,
            stated=parse_stated(architecture, k),
            force_model=force_model,
            slug=slug,
            limit=limit,
            device=device,
            dtype=dtype.value,
            batch_size=batch_size,
            calibration_images=calibration_images,
            max_bad_fraction=max_bad_fraction,
            memory_limit=memory_limit,
            vocabulary=vocabulary,
            blocklist=blocklist,
            reading=SourceOptions(
                kind=source_kind.value if source_kind else None,
                follow_links=follow_links,
                image_key=image_key,
                caption_key=caption_key,
                label_key=label_key,
            ),
            engine=engine.value,
            shared_storage=shared_storage,
            ray=RaySettings(n_workers=workers, gpus_per_worker=gpus_per_worker),
        )
    )
    print_info(out, manifest)


@if_stopped(RESUMES)
def describe(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")],
    vocabulary: Vocabulary = None,
) -> None:
    """Recompute names, neighbors and maps, for example with another vocabulary; codes are left untouched."""
    from indexer.describe.redescribe import describe_index
    from scopeview.cli.info import print_info

    print_info(index_dir, describe_index(index_dir, vocabulary))


@if_stopped(STARTS_OVER)
def calibrate(
    source: Annotated[str, typer.Argument(help="Images to measure on, as for `index`.")],
    model: Model,
    sae: Sae,
    layers: Layers = None,
    architecture: Architecture = None,
    k: K = None,
    force_model: ForceModel = False,
    device: Device = "auto",
    dtype: Dtype = DtypeChoice.auto,
    images: Annotated[int, typer.Option(min=1, help="Number of images to measure on.")] = 512,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images per forward pass.")] = None,
    source_kind: SourceKind = None,
    follow_links: FollowLinks = False,
    image_key: ImageKey = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure each SAE's reconstruction under both normalizations, beside the published metrics."""
    from indexer.normalization_report import compare_normalizations, print_comparisons
    from indexer.sources import SourceOptions

    found = compare_normalizations(
        source,
        model,
        sae,
        layers=parse_layers(layers),
        device=device,
        dtype=dtype.value,
        n_images=images,
        batch_size=batch_size,
        reading=SourceOptions(
            kind=source_kind.value if source_kind else None, follow_links=follow_links, image_key=image_key
        ),
        stated=parse_stated(architecture, k),
        force_model=force_model,
    )
    print_comparisons(found, as_json=json_output)


@if_stopped(STARTS_OVER)
def verify(index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")]) -> None:
    """Check that an index is complete and consistent."""
    from indexer.verify import verify as find_problems

    problems = find_problems(index_dir)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise ScopeviewError(f"{index_dir}: {len(problems)} problems found")
    typer.echo(f"{index_dir}: whole, and its parts agree")


def info(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what an index contains and how it was made."""
    from scopeview.cli.info import print_info
    from scopeview.store.files import MANIFEST
    from scopeview.store.manifest import read_manifest

    manifest = read_manifest(index_dir)
    if json_output:
        typer.echo((index_dir / MANIFEST).read_text(encoding="utf-8").rstrip())
    else:
        print_info(index_dir, manifest)
