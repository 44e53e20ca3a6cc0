"""`index`, `describe`, `calibrate`, `verify` and `info`: making an index of an image set, and asking it."""

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
from scopeview.signals import BEGINS_AGAIN, GOES_ON, if_stopped


@if_stopped(GOES_ON)
def index(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of images, WebDataset tars or Parquet with images; or a URL such as hf://datasets/..."
        ),
    ],
    model: Model,
    sae: Sae,
    out: Annotated[Path, typer.Option(help="Folder of the index; an unfinished one is resumed.")],
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
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a forward pass.")] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Statistics and figures come from the first N images.")
    ] = 512,
    max_bad: Annotated[
        float, typer.Option(min=0, max=1, help="Share of bad images above which the run fails.")
    ] = 0.1,
    memory_limit: Annotated[str | None, typer.Option(help="For DuckDB, such as 8GB.")] = None,
    vocabulary: Vocabulary = None,
    blocklist: Annotated[
        Path | None,
        typer.Option(help="Pictures to leave out: a sha256, URL or domain a line.", show_default=False),
    ] = None,
    source_kind: SourceKind = None,
    follow_links: FollowLinks = False,
    image_key: ImageKey = None,
    caption_key: Annotated[
        str | None,
        typer.Option(help="Column, JSON field or suffix that is the caption.", show_default=False),
    ] = None,
    label_key: Annotated[
        str | None,
        typer.Option(help="Likewise the label; folder: the image's folder.", show_default=False),
    ] = None,
    engine: Annotated[EngineChoice, typer.Option(help="ray: on the cluster that RAY_ADDRESS names.")] = (
        EngineChoice.local
    ),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of Ray. Default: as many as there is room for.")
    ] = None,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="Of Ray; whole or a fraction.")] = 0.0,
    shared: Annotated[
        str | None,
        typer.Option(
            help="Where Ray's workers leave shards, such as s3://bucket/x. Default: --out, seen by all."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished index (always so).")
    ] = True,
) -> None:
    """Run an image set through CLIP and its SAEs, and leave a browsable index behind."""
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
            max_bad=max_bad,
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
            shared=shared,
            ray=RaySettings(n_workers=workers, gpus_per_worker=gpus_per_worker),
        )
    )
    print_info(out, manifest)


@if_stopped(GOES_ON)
def describe(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")],
    vocabulary: Vocabulary = None,
) -> None:
    """Work out names, neighbours and maps again, with other words; the index stays as it is."""
    from indexer.describe.redescribe import describe_index
    from scopeview.cli.info import print_info

    print_info(index_dir, describe_index(index_dir, vocabulary))


@if_stopped(BEGINS_AGAIN)
def calibrate(
    source: Annotated[str, typer.Argument(help="Images to measure on: as for `index`.")],
    model: Model,
    sae: Sae,
    layers: Layers = None,
    architecture: Architecture = None,
    k: K = None,
    force_model: ForceModel = False,
    device: Device = "auto",
    dtype: Dtype = DtypeChoice.auto,
    images: Annotated[int, typer.Option(min=1, help="How many images to measure on.")] = 512,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    source_kind: SourceKind = None,
    follow_links: FollowLinks = False,
    image_key: ImageKey = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure each SAE's reconstruction under both normalisations, beside the published figures."""
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


@if_stopped(BEGINS_AGAIN)
def verify(index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")]) -> None:
    """Check that an index is whole and that its parts agree."""
    from indexer.verify import verify as find_problems

    problems = find_problems(index_dir)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise ScopeviewError(f"{index_dir}: {len(problems)} problems found")
    typer.echo(f"{index_dir}: whole, and its parts agree")


def info(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print the manifest itself.")] = False,
) -> None:
    """Say what an index holds and what it was made with."""
    from scopeview.cli.info import print_info
    from scopeview.store.files import MANIFEST
    from scopeview.store.manifest import read_manifest

    manifest = read_manifest(index_dir)
    if json_output:
        typer.echo((index_dir / MANIFEST).read_text(encoding="utf-8").rstrip())
    else:
        print_info(index_dir, manifest)
