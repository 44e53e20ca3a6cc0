"""The demo: scenes of the procedural world, a small CLIP and its SAEs, and an index of them.

Until trained weights ship, the model is made here at random, and every page of the index says so.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from indexer.demo_clip import write_clip
from indexer.demo_saes import write_saes
from indexer.pipeline import IndexRequest, run_index
from indexer.world import write_world
from indexer.world.vocabulary import world_vocabulary
from scopeview.clip import Clip
from scopeview.progress import task
from scopeview.store.files import written_aside

_SEED = 0
_BATCH_SIZE = 32
_IMAGES_PER_SHARD = 500
_CALIBRATION_IMAGES = 128  # 32,896 tokens: plenty for so simple a world


class DemoModel(NamedTuple):
    """The folders that `--model` and `--sae` take."""

    clip: Path
    saes: Path


def build_demo(out: Path, *, n_images: int) -> Path:
    """The index in `out/demo`, made, resumed or found finished; what it is made of is in `out/demo-made`."""
    made = out / "demo-made"
    images = made / f"procedural-world-{n_images}"
    _once(images, lambda folder: _draw(folder, n_images))
    _once(made / "model", lambda folder: write_demo_model(folder, _SEED))
    model = _demo_model(made / "model")
    index_dir = out / "demo"
    vocabulary = made / "vocabulary.txt"
    with written_aside(vocabulary) as part:
        part.write_text("\n".join([*world_vocabulary(), ""]), encoding="utf-8")
    request = IndexRequest(
        images,
        str(model.clip),
        str(model.saes),
        index_dir,
        tokens=("cls", "137", "any"),
        slug="demo",
        batch_size=_BATCH_SIZE,
        calibration_images=_CALIBRATION_IMAGES,
        vocabulary=vocabulary,
    )
    run_index(request)
    return index_dir


def write_demo_model(folder: Path, seed: int) -> DemoModel:
    """An untrained CLIP and its SAEs, in the formats of trained ones."""
    model = _demo_model(folder)
    write_clip(model.clip, seed)
    write_saes(model.saes, Clip.load(str(model.clip)), seed)
    return model


def _demo_model(folder: Path) -> DemoModel:
    return DemoModel(folder / "random-clip", folder / "random-saes")


def _draw(folder: Path, n_images: int) -> None:
    with task("draw", n_images, "scenes") as progress:
        write_world(folder, n_images, _SEED, images_per_shard=_IMAGES_PER_SHARD, progress=progress.advance)


def _once(folder: Path, write: Callable[[Path], object]) -> None:
    """Written aside and renamed: what is there is whole, and is not made again."""
    if folder.exists():
        return
    aside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    aside.rename(folder)
