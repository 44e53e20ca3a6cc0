"""How much bfloat16 changes: the same real images through float32 and through bfloat16, code by code."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from rich.console import Console
from rich.table import Table

from bench.measure import keep
from indexer.prepare import Preparer, batched
from indexer.sources import open_source
from scopeview.progress import task
from scopeview.slots import Layer, Slot
from scopeview.vision.encoder import Encoder, SlotCodes

_TOP = 9
_BATCH = 8

Crops = UInt8[np.ndarray, "batch 3 height width"]


@dataclass(frozen=True)
class Agreement:
    """The agreement at one slot: shares in [0, 1]."""

    same_sets: float  # images whose k features are the same
    same_lists: float  # of the features that fire on nine images or more, those with the same nine in order
    same_members: float  # of the places in those lists, those with the same image wherever in the list
    n_features: int  # so many such features


def compare(
    exact: Encoder, rough: Encoder, sources: Sequence[Path], limit: int | None
) -> dict[Slot, Agreement]:
    """Runs both over the same crops. Leaves out `any`, which keeps more than k."""
    found: dict[Slot, tuple[list[SlotCodes], list[SlotCodes]]] = {slot: ([], []) for slot in exact.slots}
    with task("compare", limit, "images") as progress:
        for crops in _crops(exact, sources, limit):
            for at, encoder in enumerate((exact, rough)):
                for slot, codes in encoder.encode(crops).codes.items():
                    found[slot][at].append(codes)
            progress.advance(len(crops))
    return {slot: _agreement(*both, exact.saes[slot.layer].config.n_features) for slot, both in found.items()}


def by_layer(found: Mapping[Slot, Agreement]) -> dict[Layer, Agreement]:
    """Returns the mean over a layer's tokens, with the sum of their features."""
    layers: dict[Layer, list[Agreement]] = {}
    for slot, agreement in found.items():
        layers.setdefault(slot.layer, []).append(agreement)
    return {
        layer: Agreement(
            float(np.mean([one.same_sets for one in all_of])),
            float(np.mean([one.same_lists for one in all_of])),
            float(np.mean([one.same_members for one in all_of])),
            sum(one.n_features for one in all_of),
        )
        for layer, all_of in layers.items()
    }


def report(name: str, found: Mapping[Layer, Agreement], title: str) -> None:
    table = Table("layer", "same sets", "same top-9 lists", "same top-9 images", "features", title=title)
    for layer, one in found.items():
        shares = (f"{share:.1%}" for share in (one.same_sets, one.same_lists, one.same_members))
        table.add_row(str(layer), *shares, f"{one.n_features:,}")
    Console(width=110).print(table)
    keep(name, {"title": title, "layers": {str(layer): vars(one) for layer, one in found.items()}})


def _crops(encoder: Encoder, sources: Sequence[Path], limit: int | None) -> Iterator[Crops]:
    prepare = Preparer(encoder.clip.preprocessing, None)
    samples = (
        sample for source in sources for shard in open_source(source).shards for sample in shard.samples()
    )
    prepared = (found for _, found in map(prepare, samples) if found is not None)
    n_left = limit
    for batch in batched(prepared, _BATCH):
        kept = batch if n_left is None else batch[:n_left]
        if not kept:
            return
        n_left = None if n_left is None else n_left - len(kept)
        yield np.stack([one.crop for one in kept])


def _agreement(exact: Sequence[SlotCodes], rough: Sequence[SlotCodes], n_features: int) -> Agreement:
    tables = [_dense(codes, n_features) for codes in (exact, rough)]
    same = [
        np.array_equal(np.sort(a), np.sort(b))
        for one, other in zip(exact, rough, strict=True)
        for a, b in zip(_split(one), _split(other), strict=True)
    ]
    firing = np.flatnonzero((tables[0] > 0).sum(axis=0) >= _TOP)
    tops = [np.argsort(-table[:, firing], axis=0, kind="stable")[:_TOP] for table in tables]
    members = [len(set(a) & set(b)) / _TOP for a, b in zip(tops[0].T, tops[1].T, strict=True)]
    lists = (tops[0] == tops[1]).all(axis=0)
    return Agreement(
        float(np.mean(same)),
        float(lists.mean()) if len(firing) else float("nan"),
        float(np.mean(members)) if members else float("nan"),
        len(firing),
    )


def _split(codes: SlotCodes) -> list[np.ndarray]:
    return np.split(codes.features, np.cumsum(codes.lengths)[:-1])


def _dense(parts: Sequence[SlotCodes], n_features: int) -> Float32[np.ndarray, "image feature"]:
    table = np.zeros((sum(len(part.lengths) for part in parts), n_features), np.float32)
    row = 0
    for part in parts:
        rows = row + np.repeat(np.arange(len(part.lengths)), part.lengths)
        table[rows, part.features] = part.values
        row += len(part.lengths)
    return table
