"""The demo's index: fresh scenes of the procedural world, seen by the small CLIP and the SAEs that ship."""

import shutil
from collections.abc import Callable
from pathlib import Path

from indexer.pipeline import IndexRequest, run_index
from indexer.run_config import is_finished
from indexer.world import write_world
from indexer.world.captions import world_vocabulary
from scopeview.errors import ModelError
from scopeview.progress import task
from scopeview.signals import STARTS_OVER, if_stopped
from scopeview.store.files import atomic_write

MODEL_DIR = Path(__file__).resolve().parents[2] / "data" / "demo-model"
"""The folder of the shipped models, beside the packages both in a checkout and in an installation."""

WORLD_SEED = 0
"""The seed of the indexed scenes. CLIP was trained on worlds below zero, the SAEs on another above it."""

N_IMAGES = 1000
"""Small enough for the site to be up within two minutes on two cores. The model card's metrics used 5,000."""

_BATCH_SIZE = 32
_CALIBRATION_IMAGES = (
    128  # the SAEs that ship bring their mean and std; these only measure the reconstruction
)
_IMAGES_PER_SHARD = 500


def demo_model() -> tuple[Path, Path]:
    """The folders of the shipped CLIP and SAEs. Raises `ModelError` if the installation lacks them."""
    clip, saes = MODEL_DIR / "world-clip", MODEL_DIR / "world-saes"
    if not (clip / "config.json").is_file():
        raise ModelError(f"{MODEL_DIR} holds no model; 'make retrain-demo' makes it again")
    return clip, saes


def build_demo(out: Path, *, n_images: int | None = None) -> Path:
    """Makes or resumes the index in `out/demo`, or finds it finished; its scenes are in `out/demo-made`.

    With `n_images` None, any finished index is accepted as it is; a new one gets `N_IMAGES` images.
    """
    index_dir = out / "demo"
    if n_images is None and is_finished(index_dir):
        return index_dir
    n_images = n_images or N_IMAGES
    clip, saes = demo_model()
    images = out / "demo-made" / f"procedural-world-{n_images}"
    with if_stopped(STARTS_OVER):
        _once(images, lambda folder: _draw(folder, n_images))
    vocabulary = out / "demo-made" / "vocabulary.txt"
    with atomic_write(vocabulary) as part:
        part.write_text("\n".join([*world_vocabulary(), ""]), encoding="utf-8")
    run_index(
        IndexRequest(
            images,
            str(clip),
            str(saes),
            index_dir,
            tokens=("cls", "137", "any"),
            dtype="float32",  # the same demo on every machine
            slug="demo",
            batch_size=_BATCH_SIZE,
            vocabulary=vocabulary,
            calibration_images=_CALIBRATION_IMAGES,
        )
    )
    return index_dir


def _draw(folder: Path, n_images: int) -> None:
    with task("draw", n_images, "scenes") as progress:
        write_world(
            folder, n_images, WORLD_SEED, images_per_shard=_IMAGES_PER_SHARD, progress=progress.advance
        )


def _once(folder: Path, write: Callable[[Path], object]) -> None:
    """Writes a folder unless it exists: under a temporary name, so that it is always complete."""
    if folder.exists():
        return
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    temporary.rename(folder)
