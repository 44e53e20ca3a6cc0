"""An index of forty scenes, by a model and SAEs that know nothing."""

from pathlib import Path

import pytest

from indexer.pipeline import IndexRequest, run_index
from indexer.world import write_world
from tests.indexer.tiny import write_model, write_suite

SEED, N_SCENES = 4, 40


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers 1 and `embed`, tokens `cls` and `any`; 17 tokens."""
    folder = tmp_path_factory.mktemp("truth")
    write_world(folder / "scenes", N_SCENES, SEED, images_per_shard=20)
    run_index(
        IndexRequest(
            folder / "scenes",
            str(write_model(folder / "model")),
            str(write_suite(folder / "suite")),
            folder / "index",
            tokens=("cls", "any"),
            slug="truth",
            batch_size=4,
            dtype="float32",
            calibration_images=8,
        )
    )
    return folder / "index"
