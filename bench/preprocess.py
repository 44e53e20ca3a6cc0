"""Measures how many images one core prepares per second, and so how many cores a GPU needs.

To prepare is to decode, to crop and to turn into a thumbnail.
"""

import time
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import keep
from indexer.prepare import Preparer
from indexer.sources import Sample, open_source
from scopeview.vision.preprocess import Preprocessing

_N_IMAGES = 700


def main(source: Path) -> None:
    """Measures ViT-L/14's preprocessing on one thread, by its own CPU time; the best of three passes."""
    preprocessing = Preprocessing.from_config({"size": {"shortest_edge": 224}, "crop_size": 224})
    samples = [
        sample
        for shard in open_source(source).shards
        for sample in shard.samples()
        if isinstance(sample, Sample)
    ]
    samples = list(islice(samples, _N_IMAGES))
    rates = {
        "decode and crop": _rate(Preparer(preprocessing, None), samples),
        "decode, crop and thumbnail": _rate(Preparer(preprocessing, 224), samples),
    }
    table = Table("", "images/s a core", title=f"{len(samples)} images of {source.name}")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}")
    Console(width=110).print(table)
    keep("preprocess", {"images_per_s_a_core": rates, "source": source.name, "n_images": len(samples)})


def _rate(prepare: Preparer, samples: list[Sample]) -> float:
    best = 0.0
    for _ in range(3):
        started = time.process_time()
        for sample in samples:
            prepare(sample)
        best = max(best, len(samples) / (time.process_time() - started))
    return best
