"""The manifest of a run: what the index holds, from which images and which weights it was made."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from indexer.build import N_BINS, TOP_N
from indexer.report import RunReport
from indexer.run_config import RunConfig
from scopeview import __version__
from scopeview.importers import Suite
from scopeview.model_spec import Recipe
from scopeview.slots import Layer
from scopeview.store.manifest import LayerRecord, Manifest, ModelRecord, SaeFigures, TrainedOnRecord


def manifest_of(
    recipe: Recipe,
    config: RunConfig,
    report: RunReport,
    *,
    dataset: str,
    device: str,
    figures: Mapping[Layer, SaeFigures],
) -> Manifest:
    """Makes the manifest. It has names of local folders, never their paths, since manifests are published."""
    return Manifest(
        scopeview=__version__,
        slug=config.slug,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=dataset,
        source_kind=config.source_kind,
        database=f"scope-{run_digest(config)}.duckdb",
        n_images=report.n_images,
        skipped=report.skipped,
        model=_model(recipe),
        layers=[_layer(recipe, layer, figures.get(layer)) for layer in recipe.layers],
        tokens=config.tokens,
        dtype=config.dtype,
        device=device,
        top_n=TOP_N,
        n_bins=N_BINS,
        thumb_px=config.thumb_px,
    )


def _model(recipe: Recipe) -> ModelRecord:
    return ModelRecord(
        ref=recipe.model.repo_id or recipe.model.path.resolve().name,
        revision=recipe.model.revision,
        sha256=recipe.model_sha256,
        n_layers=recipe.info.n_layers,
        width=recipe.info.width,
        projection_dim=recipe.info.projection_dim,
        image_px=recipe.info.image_px,
        patch_px=recipe.info.patch_px,
        random_weights=recipe.random_weights,
        preprocessing=recipe.preprocessing.to_dict(),
    )


def _layer(recipe: Recipe, layer: Layer, figures: SaeFigures | None) -> LayerRecord:
    sae = recipe.source(layer).config
    return LayerRecord(
        layer=layer,
        sae=recipe.suite.repo_id or Path(recipe.suite.ref).resolve().name,
        sae_revision=recipe.suite.revision,
        sae_file=_within_repository(recipe.suite, sae.source),
        sae_sha256=sae.sha256,
        architecture=sae.architecture,
        d_in=sae.d_in,
        n_features=sae.n_features,
        k=sae.k,
        max_active=sae.max_active,
        normalization=recipe.normalization[layer],
        trained_on=_trained_on(recipe, layer),
        figures=figures,
    )


def _within_repository(suite: Suite, source: str) -> str:
    """The file's name in its repository, of which perhaps only a folder or this file was named."""
    if suite.within is None or suite.within.rpartition("/")[2] == source:
        return suite.within or source
    return f"{suite.within}/{source}"


def _trained_on(recipe: Recipe, layer: Layer) -> TrainedOnRecord | None:
    trained_on, match = recipe.source(layer).trained_on, recipe.model_matches[layer]
    if trained_on is None or match is None:
        return None
    return TrainedOnRecord(**trained_on._asdict(), match=match)


def run_digest(config: RunConfig) -> str:
    """The digest in the database's name: equal for equal runs, and never shared by different databases.

    The vocabulary is not part of it: names are in another database.
    """
    shaping = {name: value for name, value in asdict(config).items() if name != "vocabulary"}
    if config.blocklist is None:
        del shaping["blocklist"]  # as it was before there were any
    if config.stated is None:
        del shaping["stated"]
    return sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]
