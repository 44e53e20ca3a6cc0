"""The model and SAEs that an index is made with: checked first, loaded later.

`plan_recipe` finds everything that can be wrong with names, layers, tokens, widths and configurations without
loading a weight. The same recipe then encodes the image set and, when the index is served, the uploads.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from scopeview.errors import CheckpointError, ConfigMismatchError, IndexFormatError
from scopeview.hub import Resolved, cached_repo_id
from scopeview.images import Grey16
from scopeview.importers import NOTHING_STATED, SaeSource, Stated, Suite, check_fits, load_sae, read_suite
from scopeview.sae.autoencoder import Sae
from scopeview.sae.calibration import load_standardizations
from scopeview.sae.forms import MEASURED, Normalization
from scopeview.sae.model_match import ModelIdentity, ModelMatch, match_model
from scopeview.sae.normalization import Standardization
from scopeview.slots import Layer, Token
from scopeview.store.checksums import IndexFiles
from scopeview.store.files import NORMALIZATION, RUN, read_sealed_json
from scopeview.store.manifest import Manifest, read_manifest
from scopeview.vision import weights
from scopeview.vision.clip import (
    Clip,
    ClipInfo,
    check_device,
    check_layers,
    check_tokens,
    read_info,
    resolve_model,
)
from scopeview.vision.clip_info import default_tokens
from scopeview.vision.encoder import Encoder
from scopeview.vision.precision import DTYPES, Dtype
from scopeview.vision.preprocess import Preprocessing
from scopeview.vision.text import TextEncoder, text_folder

__all__ = [
    "DTYPES",
    "Dtype",
    "Recipe",
    "load_encoder",
    "load_text_encoder",
    "pick_batch_size",
    "pick_device",
    "pick_dtype",
    "plan_recipe",
    "recipe_of",
]

RANDOM_WEIGHTS_NOTE = "scopeview.json"
"""A model folder's file that may say `{"random_weights": true}`: right architecture, never trained."""


@dataclass(frozen=True)
class Recipe:
    """A model, the SAEs of the chosen layers, and the input normalisation of each."""

    model: Resolved
    info: ClipInfo
    preprocessing: Preprocessing
    suite: Suite
    tokens: list[Token]
    normalization: dict[Layer, Normalization]
    stated: Stated = NOTHING_STATED

    @cached_property
    def model_sha256(self) -> str:
        """The digest of the weight files. Reads them completely, once."""
        return weights.sha256_of(weights.weight_files(self.model.path))

    @property
    def random_weights(self) -> bool:
        note = self.model.path / RANDOM_WEIGHTS_NOTE
        return note.is_file() and bool(json.loads(note.read_bytes()).get("random_weights"))

    @property
    def layers(self) -> list[Layer]:
        return self.suite.layers

    @cached_property
    def model_matches(self) -> dict[Layer, ModelMatch | None]:
        """Whether each SAE was trained on this model. Computes its digest only if an SAE states one."""
        sources = self.suite.sources
        needs_digest = any(source.trained_on and source.trained_on.sha256 for source in sources)
        repo_id = self.model.repo_id or cached_repo_id(self.model.path)
        identity = ModelIdentity(
            names=(repo_id or self.model.path.resolve().name,),
            repo_id=repo_id,
            sha256=self.model_sha256 if needs_digest else "",
        )
        return {source.layer: match_model(source.trained_on, identity) for source in sources}

    @property
    def warnings(self) -> list[str]:
        """Assumptions about the SAEs, and possible mismatches with their model, as sentences."""
        found: dict[str, list[str]] = {}
        for source in self.suite.sources:
            notes = source.notes if self.normalization[source.layer] == source.config.normalization else ()
            for note in [*notes, *source.remarks, *self._model_warnings(source)]:
                found.setdefault(note, []).append(source.config.source)
        return [f"{', '.join(names)}: {note}" for note, names in found.items()]

    def _model_warnings(self, source: SaeSource) -> list[str]:
        match = self.model_matches[source.layer]
        if match not in ("uncertain", "different"):
            return []
        certainly = "was trained" if match == "different" else "may have been trained"
        return [f"{certainly} on another model, {source.trained_on}, not on {self.model.ref}"]

    @property
    def grey_16_bit(self) -> Grey16:
        return self.preprocessing.grey_16_bit

    def with_grey_16_bit(self, grey_16_bit: Grey16) -> "Recipe":
        """A copy with another conversion of 16-bit greyscale: the one that a resumed index uses."""
        return replace(self, preprocessing=replace(self.preprocessing, grey_16_bit=grey_16_bit))

    def source(self, layer: Layer) -> SaeSource:
        return next(source for source in self.suite.sources if source.layer == layer)

    def load_clip(self, *, device: str, dtype: Dtype) -> Clip:
        return Clip.load(self.model, device=device, dtype=DTYPES[dtype], grey_16_bit=self.grey_16_bit)

    def load_saes(self) -> dict[Layer, Sae]:
        """Every layer's SAE on the CPU, as in its file. Raises `CheckpointError` for bad weights."""
        return {source.layer: load_sae(source) for source in self.suite.sources}

    def needs_statistics(self, sae: Sae) -> bool:
        """True if the SAE's normalisation needs a mean and std that its file does not have."""
        chosen = self.normalization[sae.config.layer]
        return chosen in MEASURED and (sae.standardization is None or chosen != sae.config.normalization)

    def normalized(
        self, saes: Mapping[Layer, Sae], stats: Mapping[Layer, Standardization], device: str | torch.device
    ) -> dict[Layer, Sae]:
        """The SAEs on the device, normalising as the recipe says; `stats` supplies missing mean and std.

        Raises `CheckpointError` for an SAE whose mean and std are still missing.
        """
        return {layer: self._normalized(sae, stats.get(layer)).to(device) for layer, sae in saes.items()}

    def _normalized(self, sae: Sae, stats: Standardization | None) -> Sae:
        chosen = self.normalization[sae.config.layer]
        if chosen not in MEASURED:
            return sae.with_normalization(chosen)
        if stats is None and self.needs_statistics(sae):
            raise CheckpointError(f"{sae.config.source} waits for a mean and std that were not calibrated")
        return sae if stats is None else sae.with_normalization(chosen, stats)


def plan_recipe(
    model: str,
    sae: str,
    *,
    layers: Sequence[Layer] | None = None,
    tokens: Sequence[Token] | None = (),
    normalization: Normalization | None = None,
    stated: Stated = NOTHING_STATED,
    force_model: bool = False,
) -> Recipe:
    """Checks that model, SAEs and options fit together.

    `layers` None: all in the suite. `tokens` None: CLS and the patch in the middle. `normalization` None:
    each SAE's own. `stated` supplies what an SAE's file does not state. `force_model` accepts SAEs of another
    model. Raises an `InputError` that names what does not fit and what would.
    """
    info = read_info(resolve_model(model, with_weights=False))
    chosen_tokens = default_tokens(info) if tokens is None else list(tokens)
    check_tokens(info, chosen_tokens)
    if layers is not None:
        check_layers(info, layers)
    suite = read_suite(sae, layers, stated)
    check_layers(info, suite.layers)
    for source in suite.sources:
        check_fits(source.config, info.d_in(source.layer))
    resolved = resolve_model(model)
    chosen: dict[Layer, Normalization] = {
        source.layer: normalization or source.config.normalization for source in suite.sources
    }
    preprocessing = Preprocessing.from_folder(resolved.path)
    recipe = Recipe(resolved, read_info(resolved), preprocessing, suite, chosen_tokens, chosen, stated)
    if not force_model:
        _check_models(recipe)
    return recipe


def _check_models(recipe: Recipe) -> None:
    for source in recipe.suite.sources:
        if recipe.model_matches[source.layer] == "different":
            name, digest = f"{recipe.suite.ref}/{source.config.source}", recipe.model_sha256[:12]
            raise CheckpointError(
                f"{name} was trained on another model, {source.trained_on}; --model {recipe.model.ref} has "
                f"sha256 {digest}. Expected an SAE of this model (--force-model uses it all the same)"
            )


def pick_device(name: str) -> str:
    """Resolves `auto` to the first CUDA device, or the CPU without one; returns any other name unchanged.

    Raises `InputError` for a device that cannot be used here.
    """
    picked = name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    check_device(picked)
    return picked


def pick_dtype(name: Dtype | Literal["auto"], device: str) -> Dtype:
    """Resolves `auto` for training: bfloat16 on CUDA, else float32. For indexing, see `choose_precision`."""
    if name != "auto":
        return name
    return "bfloat16" if device.startswith("cuda") else "float32"


def pick_batch_size(device: str) -> int:
    """The default number of images per forward pass. A CPU gains nothing from large batches."""
    return 256 if device.startswith("cuda") else 8


def load_encoder(index_dir: Path, *, device: str = "auto") -> Encoder:
    """Loads an index's encoder, for uploads: with the same weights, statistics and precision.

    Raises an `InputError` if the weights have been moved or changed.
    """
    manifest = read_manifest(index_dir)
    recipe = recipe_of(index_dir, manifest)
    saes = recipe.load_saes()
    picked = pick_device(device)
    clip = recipe.load_clip(device=picked, dtype=manifest.dtype)
    IndexFiles(index_dir, manifest).check(index_dir / NORMALIZATION)
    stats = load_standardizations(index_dir / NORMALIZATION)
    return Encoder(clip, recipe.normalized(saes, stats, clip.device), manifest.tokens)


def recipe_of(index_dir: Path, manifest: Manifest) -> Recipe:
    """Finds the model and SAEs of a finished index again; loads no weight, but compares their digests.

    Raises an `InputError` if the weights have been moved or changed.
    """
    run = _read_run(index_dir / RUN)
    refs: dict[str, str] = run["weights"]
    recipe = plan_recipe(
        refs["model"],
        refs["sae"],
        layers=[record.layer for record in manifest.layers],
        tokens=manifest.tokens,
        stated=Stated(**(run["config"].get("stated") or {})),
        force_model=True,  # decided when the index was made, and compared below
    )
    _check_unchanged(recipe, manifest)
    normalization = {record.layer: record.normalization for record in manifest.layers}
    return replace(recipe, normalization=normalization).with_grey_16_bit(manifest.model.grey_16_bit)


def load_text_encoder(index_dir: Path, *, device: str = "auto") -> TextEncoder:
    """Loads the text encoder of an index's model, for search; ignores the SAEs.

    Raises an `InputError` if the model has none, or has been moved or changed.
    """
    manifest = read_manifest(index_dir)
    model = resolve_model(_read_run(index_dir / RUN)["weights"]["model"])
    sha256 = weights.sha256_of(weights.weight_files(model.path))
    _check_same({f"the model {model.ref}": (sha256, manifest.model.sha256)})
    return TextEncoder.load(text_folder(model), device=pick_device(device))


def _read_run(path: Path) -> dict[str, Any]:
    """Reads `run.json`: where the weights are, and what the command line stated about them."""
    try:
        return read_sealed_json(path, lambda run: {name: dict(run[name]) for name in ("weights", "config")})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFormatError(
            f"{path}, which says where the weights are, cannot be read ({error!r}): uploads need it"
        ) from error


def _check_unchanged(recipe: Recipe, manifest: Manifest) -> None:
    found = {f"the model {recipe.model.ref}": (recipe.model_sha256, manifest.model.sha256)}
    for record in manifest.layers:
        source = recipe.source(record.layer)
        found[f"{recipe.suite.ref}/{source.config.source}"] = (source.config.sha256, record.sae_sha256)
    _check_same(found)


def _check_same(found: Mapping[str, tuple[str, str]]) -> None:
    """Compares the sha256 of each file with that recorded in the index. Raises `ConfigMismatchError`."""
    for name, (now, then) in found.items():
        if now != then:
            raise ConfigMismatchError(
                f"{name} has changed since the index was made (sha256 {now[:12]}, indexed with {then[:12]}); "
                "put the indexed weights back, or index again"
            )
