"""Encode against the reference loop, and against the vision tower alone, on one device in one run.

The three take turns, so that other work on the machine slows all of them. Ours is measured whole: reading
tars, decoding, CLIP, SAEs, and writing shards that are flushed to disk.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from bench.measure import Budget, keep
from bench.reference_loop import ReferenceLoop
from bench.weights import D_IN, N_FEATURES, K, write_vit_l_14
from indexer.batching import compile_if_cuda, find_batch_size
from indexer.encode import ShardEncoder, ShardWork
from indexer.sources import Shard, open_source
from scopeview.model_spec import DTYPES
from scopeview.progress import NullTask
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.slots import Layer
from scopeview.vision.clip import Clip
from scopeview.vision.encoder import Encoder
from scopeview.vision.precision import choose_precision

LAYERS = (2, 5, 8, 11, 14, 17, 20, 22)
REFERENCE_GOAL, VIT_GOAL = 2.8, 0.95


@dataclass(frozen=True)
class EncodeSizes:
    """How much is measured. The reference loop gets fewer images: it is the slow one."""

    rounds: int = 3
    reference_images: int = 8
    images: int = 24


class Speed(NamedTuple):
    """The speed of one of the three in one round."""

    images_per_s: float
    cpu_s_an_image: float  # of all threads: what it costs, however busy the machine is with other things


class Rates(NamedTuple):
    """The speeds of all rounds."""

    reference: list[Speed]
    vit: list[Speed]
    ours: list[Speed]
    seconds: dict[str, float]  # where the last round of ours went


def main(source: Path, *, device: str, sizes: EncodeSizes) -> None:
    """Measures at full size: ViT-L/14 and eight SAEs of 65,536 features, random weights."""
    with tempfile.TemporaryDirectory() as folder:
        model = write_vit_l_14(Path(folder) / "model")
        precision = choose_precision("auto", device)
        reference = Clip.load(str(model), device=device)
        clip = Clip.load(str(model), device=device, dtype=DTYPES[precision.dtype])
        saes = shared_saes(LAYERS, d_in=D_IN, n_features=N_FEATURES, k=K, device=device)
        rates = measure(reference, clip, saes, open_source(source).shards, sizes)
    report("encode", rates, f"{device}, {precision.dtype} ({precision.because})")


def shared_saes(
    layers: Sequence[Layer], *, d_in: int, n_features: int, k: int, device: str
) -> dict[Layer, Sae]:
    """Returns one SAE's weights at every layer: eight of their own would fill the memory, at equal cost."""
    random = torch.Generator().manual_seed(0)
    enc = (torch.randn(d_in, n_features, generator=random) / (2 * d_in) ** 0.5).to(device)
    weights = Weights(torch.zeros(d_in, device=device), enc, enc.t().contiguous())
    config = SaeConfig("topk", layers[0], d_in, n_features, k, "none", source="random", sha256="")
    return {layer: Sae(replace(config, layer=layer), weights) for layer in layers}


def measure(
    reference: Clip, clip: Clip, saes: Mapping[Layer, Sae], shards: Sequence[Shard], sizes: EncodeSizes
) -> Rates:
    """Measures the three in turn, after one pass each that does not count."""
    encoder = Encoder(clip, saes, ["cls", "137"])
    compile_if_cuda(encoder)
    batch_size = find_batch_size(encoder)
    side = clip.info.image_px
    pixels = torch.randn(batch_size, 3, side, side, device=clip.device)
    low = pixels.to(clip.dtype)
    loop = ReferenceLoop(reference.model, saes, [0, 137])
    seconds: dict[str, float] = {}

    @torch.inference_mode()
    def vit() -> None:
        clip.model(low)

    def ours(n_images: int) -> None:
        seconds.clear()
        seconds.update(_encode(encoder, shards, n_images, batch_size))

    found = Rates([], [], [], seconds)
    n_times = max(1, sizes.images // batch_size)
    for turn in range(sizes.rounds + 1):
        rates = (
            _speed(lambda: loop.feed(pixels[: sizes.reference_images]), sizes.reference_images, clip.device),
            _speed(lambda: [vit() for _ in range(n_times)], n_times * batch_size, clip.device),
            _speed(lambda: ours(n_times * batch_size), n_times * batch_size, clip.device),
        )
        print(json.dumps({"round": turn, "speeds": rates}), file=sys.stderr, flush=True)
        if turn:
            for kept, rate in zip(found, rates, strict=False):
                kept.append(rate)  # type: ignore[attr-defined]
    return found


def _encode(encoder: Encoder, shards: Sequence[Shard], n_images: int, batch_size: int) -> dict[str, float]:
    """Encodes as `scopeview index` does; returns where the time went."""
    with tempfile.TemporaryDirectory() as folder:
        made = ShardEncoder(encoder, thumb_px=224, batch_size=batch_size)
        with closing(made):
            timing, left, number = made.timing(), n_images, 0
            while left:
                work = iter([ShardWork(number, shards[number % len(shards)], left)])
                (marker,) = made.encode(Path(folder), work, NullTask(), timing)
                left, number = left - marker.n_images, number + 1
            return timing.rows()


def _speed(work: Callable[[], object], n_images: int, device: torch.device) -> Speed:
    started, cpu_before = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_before
    return Speed(n_images / elapsed_s, cpu_s / n_images)


_NAMES = ("reference", "vit", "ours")


def _ratio(ours: Sequence[Speed], others: Sequence[Speed]) -> float:
    return statistics.median(a.images_per_s / b.images_per_s for a, b in zip(ours, others, strict=True))


def _saving(others: Sequence[Speed], ours: Sequence[Speed]) -> float:
    return statistics.median(a.cpu_s_an_image / b.cpu_s_an_image for a, b in zip(others, ours, strict=True))


def report(name: str, rates: Rates, title: str, results_dir: Path | None = None) -> dict[str, object]:
    """Prints the table, keeps the figures, and returns them. Ratios are medians over the rounds."""
    over_loop = _ratio(rates.ours, rates.reference)
    of_vit = _ratio(rates.ours, rates.vit)
    budgets = [
        Budget("ours over the reference loop", over_loop, REFERENCE_GOAL, "x", at_least=True),
        Budget("ours over the tower alone", of_vit, VIT_GOAL, "x", at_least=True),
        Budget("the same by CPU time: loop", _saving(rates.reference, rates.ours), REFERENCE_GOAL, "x", True),
        Budget("the same by CPU time: tower", _saving(rates.vit, rates.ours), VIT_GOAL, "x", True),
    ]
    table = Table(
        "", "images/s (median)", "of each round", title=f"Encode, ViT-L/14, 8 SAEs, cls + 137: {title}"
    )
    for label, found in (
        ("reference loop, float32", rates.reference),
        ("vision tower alone", rates.vit),
        ("scopeview: tars to shards", rates.ours),
    ):
        speeds = [one.images_per_s for one in found]
        table.add_row(label, f"{statistics.median(speeds):.2f}", ", ".join(f"{rate:.2f}" for rate in speeds))
    for budget in budgets:
        table.add_row(budget.name, *budget.cells())
    Console(width=110).print(table)
    figures: dict[str, object] = {
        "title": title,
        "threads": torch.get_num_threads(),
        **{
            figure: {name: [getattr(one, figure) for one in getattr(rates, name)] for name in _NAMES}
            for figure in Speed._fields
        },
        "ours_over_reference": over_loop,
        "ours_over_vit": of_vit,
        "seconds": rates.seconds,
    }
    if results_dir is None:
        keep(name, figures)
    else:
        keep(name, figures, results_dir)
    print(json.dumps(figures["seconds"]))
    return figures
