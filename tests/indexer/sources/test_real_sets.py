"""The real image sets: counts are exact, and every image decodes."""

from pathlib import Path

import pytest

from indexer.sources import BadSample, Sample, open_source
from scopeview.images import ImageLimits, decode


def read(path: Path) -> tuple[list[Sample], list[BadSample]]:
    found = [sample for shard in open_source(path).shards for sample in shard.samples()]
    samples = [sample for sample in found if isinstance(sample, Sample)]
    return samples, [sample for sample in found if isinstance(sample, BadSample)]


@pytest.mark.parametrize(("name", "n_images", "n_shards"), [("laion", 70, 2), ("photos", 700, 7)])
def test_every_image_is_found_once_and_decodes(
    real_images: Path, name: str, n_images: int, n_shards: int
) -> None:
    samples, bad_samples = read(real_images / name)
    assert bad_samples == []
    assert len({sample.key for sample in samples}) == len(samples) == n_images
    assert len(open_source(real_images / name).shards) == n_shards
    assert all(decode(sample.image, ImageLimits()).image.mode == "RGB" for sample in samples)


def test_laion_samples_carry_their_scores_and_addresses(real_images: Path) -> None:
    samples, _ = read(real_images / "laion")
    assert samples[1].caption == "Boris Pasternak - Lyric (collection)"
    assert all(sample.source_url and sample.caption for sample in samples)
    assert all(sample.punsafe is not None and sample.pwatermark is not None for sample in samples)


def test_photos_carry_their_labels(real_images: Path) -> None:
    samples, _ = read(real_images / "photos")
    assert (samples[0].key, samples[0].caption, samples[0].label) == (
        "00000/000000000",
        "bearskin",
        "n02817516",
    )
    assert len({sample.label for sample in samples}) == 700


def test_a_copy_cut_short_loses_the_end_alone(real_images: Path, tmp_path: Path) -> None:
    whole = (real_images / "photos" / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[: len(whole) // 2])
    samples, (complaint,) = read(tmp_path)
    expected, _ = read(real_images / "photos")
    assert samples == expected[: len(samples)]
    assert 30 < len(samples) < 70
    assert complaint.reason.name == "TRUNCATED_SHARD"
