"""A small run of the whole pipeline, shared by the tests that look at its parts."""

from pathlib import Path

from indexer.pipeline import IndexRequest
from tests.models import save_random_clip
from tests.saes import save_random_clipscope, save_random_native

WIDTH, PROJECTION = 64, 32
N_FEATURES, K = 256, 8


def save_weights(folder: Path) -> tuple[Path, Path]:
    """A CLIP folder and a suite: CLIP-Scope at layer 1, our own format at layer 3 and on the embedding."""
    model = save_random_clip(folder / "clip", width=WIDTH, n_layers=4, projection_dim=PROJECTION)
    suite = folder / "suite"
    save_random_clipscope(suite, layer=1, d_in=WIDTH, n_features=N_FEATURES, k=K, seed=1)
    save_random_native(suite, layer=3, d_in=WIDTH, n_features=N_FEATURES, k=K, seed=3)
    save_random_native(suite, layer="embed", d_in=PROJECTION, n_features=N_FEATURES, k=K, seed=5)
    return model, suite


def request(source: Path, weights: tuple[Path, Path], out: Path, **changes: object) -> IndexRequest:
    """The request that the tests vary: all layers of the suite, `cls`, `137` and `any`."""
    settings: dict[str, object] = {
        "tokens": ("cls", "137", "any"),
        "calibration_images": 64,
        "batch_size": 16,
        "dtype": "float32",
        "slug": "test",
        **changes,
    }
    return IndexRequest(source=source, model=str(weights[0]), sae=str(weights[1]), out=out, **settings)  # type: ignore[arg-type]
