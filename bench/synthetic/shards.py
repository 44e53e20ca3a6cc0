"""Writes one shard as encode would, by the project's own writer: random codes, captions, thumbnails."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float16

from bench.synthetic.codes import Law, random_codes
from bench.synthetic.spec import Spec
from indexer.shard_writer import ImageEntry, ShardMarker, ShardWriter
from scopeview.slots import Slot
from scopeview.vision.encoder import Encoded

_N_CLUSTERS = 256
_NOISE = 0.7
_UNSAFE = 0.02  # share of images above the threshold at which pages cover them
_ADJECTIVES = ("red", "old", "tiny", "bright", "wooden", "empty", "golden", "quiet", "snowy", "modern")
_NOUNS = ("bicycle", "church", "kitten", "bridge", "lighthouse", "teapot", "market", "guitar", "harbour")
_PLACES = ("in autumn", "by the sea", "on a white background", "at night", "in the mountains", "in a garden")


def write_shard(
    index_dir: Path, spec: Spec, laws: Mapping[Slot, Law], thumbs: Sequence[bytes], shard: int
) -> None:
    """Writes the whole folder of that shard, or nothing of it."""
    n = spec.shard_sizes[shard]
    generator = np.random.default_rng([spec.seed, 3, shard])
    codes = {slot: random_codes(law, slot, n, spec.k, spec.seed, shard) for slot, law in laws.items()}
    encoded = Encoded(codes, _embeddings(generator, spec, n), np.ones(n, dtype=bool))
    drawn = [thumbs[i] for i in generator.integers(0, len(thumbs), n).tolist()]
    with ShardWriter(index_dir, shard, spec.slots) as writer:
        writer.add(_entries(generator, shard, n), drawn, encoded)
        writer.finish(ShardMarker(f"{shard:05d}.tar", "synthetic", n, n), spec.projection_dim)


def _embeddings(
    generator: np.random.Generator, spec: Spec, n: int
) -> Float16[np.ndarray, "image projection"]:
    """Returns embeddings around a number of centres, so that some images are near each other."""
    centres = np.random.default_rng([spec.seed, 4]).standard_normal(
        (_N_CLUSTERS, spec.projection_dim), np.float32
    )
    noise = generator.standard_normal((n, spec.projection_dim), np.float32)
    return (centres[generator.integers(0, _N_CLUSTERS, n)] + _NOISE * noise).astype(np.float16)


def _entries(generator: np.random.Generator, shard: int, n: int) -> list[ImageEntry]:
    adjectives, nouns, places = (
        [words[i] for i in generator.integers(0, len(words), n).tolist()]
        for words in (_ADJECTIVES, _NOUNS, _PLACES)
    )
    digests = generator.bytes(32 * n)
    unsafe = (generator.random(n) ** 4 * 0.5 + 0.5 * (generator.random(n) < _UNSAFE)).tolist()
    sizes = generator.integers(256, 2048, (n, 2)).tolist()
    return [
        ImageEntry(
            key=f"{shard:05d}/{shard:05d}{i:05d}",
            caption=f"a {adjectives[i]} {nouns[i]} {places[i]}, photo {digests[32 * i : 32 * i + 3].hex()}",
            source_url=f"https://images.example.org/{digests[32 * i : 32 * i + 12].hex()}/{nouns[i]}.jpg",
            label=None,
            width=sizes[i][0],
            height=sizes[i][1],
            sha256=digests[32 * i : 32 * i + 32].hex(),
            punsafe=unsafe[i],
            pwatermark=None,
        )
        for i in range(n)
    ]
