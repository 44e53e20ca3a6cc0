"""The benchmarks of encode at a size where only their logic shows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import gpu
from bench.agreement import by_layer, compare
from bench.encode import EncodeSizes, measure, report, shared_saes
from bench.reference_loop import ReferenceLoop
from indexer.sources import open_source
from scopeview.vision.clip import Clip
from scopeview.vision.encoder import Encoder
from tests.models import save_random_clip

LAYERS = (0, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """257 tokens, three blocks of width 32."""
    folder = tmp_path_factory.mktemp("model")
    return str(save_random_clip(folder, width=32, n_layers=3, n_heads=2))


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "tars"
    gpu.write_jpegs(folder, 20, per_shard=12)
    return folder


def test_the_reference_loop_finds_the_activations_that_an_index_ranks_first(model: str) -> None:
    clip = Clip.load(model)
    saes = shared_saes(LAYERS, d_in=32, n_features=64, k=4, device="cpu")
    side = clip.info.image_px
    crops = np.random.default_rng(0).integers(0, 256, (12, 3, side, side), dtype=np.uint8)
    loop = ReferenceLoop(clip.model, saes, [0, 137])
    for start in (0, 5):
        loop.feed(clip.normalize(torch.from_numpy(crops[start : start + (5 if start == 0 else 7)])))
    encoder = Encoder(Clip.load(model), saes, ["cls", "137"])
    dense = np.zeros((12, 64), np.float32)
    codes = encoder.encode(crops).codes[encoder.slots[1]]
    dense[np.repeat(np.arange(12), codes.lengths), codes.features] = codes.values
    expected = -np.sort(-dense, axis=0)[:9]
    np.testing.assert_allclose(loop.tables[0, 137].numpy(), expected, atol=1e-4)


def test_rates_are_of_each_round_and_say_where_the_time_went(model: str, tars: Path, tmp_path: Path) -> None:
    reference, clip = Clip.load(model), Clip.load(model, dtype=torch.bfloat16)
    saes = shared_saes(LAYERS, d_in=32, n_features=64, k=4, device="cpu")
    sizes = EncodeSizes(rounds=2, reference_images=2, images=16)
    rates = measure(reference, clip, saes, open_source(tars).shards, sizes)
    assert [len(found) for found in (rates.reference, rates.vit, rates.ours)] == [2, 2, 2]
    assert {"CLIP", "SAEs", "waiting for images"} <= rates.seconds.keys()
    report("encode", rates, "a small one", tmp_path)
    kept = json.loads((tmp_path / "encode.json").read_text())
    assert kept["images_per_s"]["ours"] == [one.images_per_s for one in rates.ours]


def test_a_model_agrees_with_itself_and_mostly_with_itself_in_bfloat16(model: str, tars: Path) -> None:
    saes = shared_saes(LAYERS, d_in=32, n_features=64, k=4, device="cpu")
    exact, rough = (
        Encoder(Clip.load(model, dtype=dtype), saes, ["cls", "137"])
        for dtype in (torch.float32, torch.bfloat16)
    )
    same = by_layer(compare(exact, exact, [tars], 20))
    assert list(same) == list(LAYERS)
    assert [(one.same_sets, one.same_lists) for one in same.values()] == [(1.0, 1.0)] * 2
    found = by_layer(compare(exact, rough, [tars], 20))
    assert all(0.5 < one.same_sets <= 1 for one in found.values())


def test_the_gpu_benchmark_times_matrix_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.matmul_tflops("cpu", times=2) > 0
    with pytest.raises(SystemExit, match="no CUDA device"):
        gpu.main(out=tmp_path, device="cuda", images=1, any_images=0)
