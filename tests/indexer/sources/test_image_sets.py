"""Whole image sets, drawn and real: counts are exact, and every image decodes."""

from pathlib import Path

import pytest

from indexer.sources import BadSample, Sample, open_source
from scopeview.images import ImageLimits, decode
from tests.image_sets import N_LAION_SHARDS, ImageSets


def read(path: Path) -> tuple[list[Sample], list[BadSample]]:
    found = [sample for shard in open_source(path).shards for sample in shard.samples()]
    samples = [sample for sample in found if isinstance(sample, Sample)]
    return samples, [sample for sample in found if isinstance(sample, BadSample)]


@pytest.mark.parametrize("name", ["laion", "photos"])
def test_every_image_is_found_once_and_decodes(images: ImageSets, name: str) -> None:
    samples, bad_samples = read(images.folder / name)
    n_images, n_shards = {
        "laion": (images.n_laion, N_LAION_SHARDS),
        "photos": (images.n_photos, images.n_photo_shards),
    }[name]
    assert bad_samples == []
    assert len({sample.key for sample in samples}) == len(samples) == n_images
    assert len(open_source(images.folder / name).shards) == n_shards
    assert all(decode(sample.image, ImageLimits()).image.mode == "RGB" for sample in samples)


def test_laion_samples_carry_their_captions_scores_and_addresses(images: ImageSets) -> None:
    samples, _ = read(images.laion)
    assert all(sample.source_url and sample.caption for sample in samples)
    assert all(sample.punsafe is not None and sample.pwatermark is not None for sample in samples)


def test_photos_carry_a_label_each(images: ImageSets) -> None:
    samples, _ = read(images.photos)
    assert all(sample.caption for sample in samples)
    assert len({sample.label for sample in samples}) == images.n_photos


def test_drawn_images_carry_what_was_written(drawn_images: ImageSets) -> None:
    web, photos = read(drawn_images.laion)[0][3], read(drawn_images.photos)[0][40]
    assert (web.caption, web.source_url) == (
        "Web image 3 – ein Bild, 一张图片",
        "https://example.org/3.jpg?size=full&n=3",
    )
    assert (photos.key, photos.caption, photos.label) == ("00001/000000040", "photograph 40", "n00000040")


def test_the_corpus_carries_what_is_known_of_it(corpus: ImageSets) -> None:
    web, photos = read(corpus.laion)[0][1], read(corpus.photos)[0][0]
    assert web.caption == "Boris Pasternak - Lyric (collection)"
    assert (photos.key, photos.caption, photos.label) == ("00000/000000000", "bearskin", "n02817516")


def test_a_copy_cut_short_loses_the_end_alone(images: ImageSets, tmp_path: Path) -> None:
    whole = (images.photos / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[: len(whole) // 2])
    samples, (complaint,) = read(tmp_path)
    expected, _ = read(images.photos)
    per_shard = images.n_photos // images.n_photo_shards
    assert samples == expected[: len(samples)]
    assert 0.3 * per_shard < len(samples) < 0.7 * per_shard
    assert complaint.reason.name == "TRUNCATED_SHARD"
