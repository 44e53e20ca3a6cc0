"""Measures all speeds on a CUDA device in one command, `python -m bench.gpu`; figures go to a JSON file.

These are the reference loop, the vision tower alone and encode (as `bench encode`), then `scopeview index`
from tars of generated JPEGs to a finished index, at CLS and 137 and at `any`.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from bench.encode import LAYERS, EncodeSizes, measure, report, shared_saes
from bench.measure import keep
from bench.weights import D_IN, N_FEATURES, K, write_clip_scope, write_vit_l_14
from indexer.sources import open_source
from scopeview.model_spec import DTYPES
from scopeview.vision.clip import Clip
from scopeview.vision.precision import choose_precision
from tests.indexer.sources.tars import write_tar

FLOP_AN_IMAGE = 162e9  # of ViT-L/14 at 224 px


def main(
    out: Annotated[Path, typer.Option(help="Folder of the JSON file.")] = Path("bench/results"),
    device: Annotated[str, typer.Option()] = "cuda",
    images: Annotated[int, typer.Option(min=1, help="Of the end-to-end run at CLS and 137.")] = 100_000,
    any_images: Annotated[int, typer.Option(help="Of the one at `any`; 0: none.")] = 20_000,
) -> None:
    """Measure everything on one device."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("there is no CUDA device here")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_jpegs(work / "tars", max(images, any_images))
        model, suite = write_vit_l_14(work / "model"), write_clip_scope(work / "suite", LAYERS)
        found: dict[str, Any] = {
            "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
            "bf16_peak_tflops": matmul_tflops(device),
            "encode": _encode(model, work / "tars", device),
            "index": end_to_end(work, model, suite, device, images, "cls,137"),
        }
        if any_images:
            found["index_any"] = end_to_end(work, model, suite, device, any_images, "cls,any")
    vit = max(found["encode"]["images_per_s"]["vit"])
    found["vit_share_of_peak"] = vit * FLOP_AN_IMAGE / 1e12 / found["bf16_peak_tflops"]
    keep("gpu", found, out)
    print(json.dumps(found, indent=1))


def write_jpegs(folder: Path, n_images: int, per_shard: int = 10_000) -> None:
    """Writes images of 256 px, about 20 kB each, as img2dataset leaves them; two hundred different ones."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(min(n_images, 200)):
        coarse = Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        images.append(file.getvalue())
    folder.mkdir(parents=True)
    for shard, start in enumerate(range(0, n_images, per_shard)):
        numbers = range(start, min(start + per_shard, n_images))
        write_tar(folder / f"{shard:05d}.tar", [(f"{i:08d}.jpg", images[i % len(images)]) for i in numbers])


def matmul_tflops(device: str, side: int = 8192, times: int = 20) -> float:
    """Returns the TFLOP/s of bfloat16 matrix products on this device; of a small one on a CPU, for tests."""
    side = side if device.startswith("cuda") else 256
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    for turn in range(2):
        started = time.perf_counter()
        for _ in range(times if turn else 2):
            a @ b
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        elapsed_s = time.perf_counter() - started
    return 2 * side**3 * times / elapsed_s / 1e12


def end_to_end(
    work: Path, model: Path, suite: Path, device: str, n_images: int, tokens: str
) -> dict[str, Any]:
    """Runs `scopeview index`; returns seconds of each stage and of all, encode's images/s and its times."""
    command = [sys.executable, "-m", "scopeview", "index", str(work / "tars"), "--model", str(model)]
    options = ["--sae", str(suite), "--tokens", tokens, "--limit", str(n_images), "--device", device]
    out = ["--out", str(work / f"index-{tokens.replace(',', '-')}"), "--slug", "gpu"]
    started = time.monotonic()
    done = subprocess.run(
        [*command, *options, *out],
        env={**os.environ, "SCOPEVIEW_CACHE": str(work / "cache")},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    stages = {line["task"]: line["elapsed_s"] for line in lines if "elapsed_s" in line}
    (table,) = (line for line in lines if "seconds" in line)
    (how,) = (line for line in lines if "because" in line)
    return {
        "n_images": n_images,
        "total_s": time.monotonic() - started,
        "stages_s": stages,
        "encode_images_per_s": n_images / table["wall_s"],
        "encode_seconds": table["seconds"],
        "how": how,
    }


def _encode(model: Path, tars: Path, device: str) -> dict[str, Any]:
    precision = choose_precision("auto", device)
    reference = Clip.load(str(model), device=device)
    clip = Clip.load(str(model), device=device, dtype=DTYPES[precision.dtype])
    saes = shared_saes(LAYERS, d_in=D_IN, n_features=N_FEATURES, k=K, device=device)
    sizes = EncodeSizes(rounds=3, reference_images=64, images=16_384)
    rates = measure(reference, clip, saes, open_source(tars).shards, sizes)
    return report("encode-gpu", rates, f"{device}, {precision.dtype}")


if __name__ == "__main__":
    typer.run(main)
