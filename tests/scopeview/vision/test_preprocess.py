"""Resize and crop give transformers' pixels, bit for bit; a config that says nothing usable is refused."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessorPil

from scopeview.errors import BadReason, ImageError, ModelError
from scopeview.images import ImageLimits, decode
from scopeview.vision.preprocess import Preprocessing
from tests.image_sets import ImageSets
from tests.models import preprocessor_config

CONFIGS: dict[str, dict[str, Any]] = {
    "legacy numbers": preprocessor_config(224),
    "laion": {
        "crop_size": {"height": 224, "width": 224},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "CLIPImageProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 224},
    },
    "small and bilinear": {"size": {"shortest_edge": 96}, "crop_size": 61, "resample": 2},
    "square": {"size": {"height": 70, "width": 90}, "crop_size": {"height": 64, "width": 101}},
    "no crop": {"size": {"height": 50, "width": 40}, "do_center_crop": False},
    "no resize": {"do_resize": False, "crop_size": {"height": 333, "width": 200}},
}


def reference(config: dict[str, Any], image: Image.Image) -> np.ndarray:
    processor = CLIPImageProcessorPil(**(config | {"do_rescale": False, "do_normalize": False}))
    return np.asarray(processor(image, return_tensors="np")["pixel_values"][0])


def images_in(tar_path: Path) -> list[Image.Image]:
    images = []
    with tarfile.open(tar_path) as tar:
        for member in tar:
            opened = tar.extractfile(member)
            if opened and member.name.endswith(".jpg"):
                images.append(decode(opened.read(), ImageLimits()).image)
    return images


@pytest.mark.parametrize("name", CONFIGS)
def test_crops_of_web_images_equal_transformers_bit_for_bit(images: ImageSets, name: str) -> None:
    config = CONFIGS[name]
    ours = Preprocessing.from_config(config)
    every = 1 if name in ("laion", "legacy numbers") else 5
    for tar_path in sorted(images.laion.glob("*.tar")):
        for image in images_in(tar_path)[::every]:
            np.testing.assert_array_equal(ours.crop(image), reference(config, image), strict=True)


def test_crops_of_photographs_equal_transformers_bit_for_bit(images: ImageSets) -> None:
    ours = Preprocessing.from_config(CONFIGS["laion"])
    photographs = images_in(images.photos / "00000.tar")
    assert len(photographs) == images.n_photos // images.n_photo_shards
    for image in photographs:
        np.testing.assert_array_equal(ours.crop(image), reference(CONFIGS["laion"], image), strict=True)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_any_size_is_cropped_and_padded_as_transformers_does(
    height: int, width: int, edge: int, crop_height: int, crop_width: int
) -> None:
    rng = np.random.default_rng(height * 100 + width)
    image = Image.fromarray(rng.integers(1, 256, (height, width, 3), dtype=np.uint8))
    config = {
        "size": {"shortest_edge": edge},
        "crop_size": {"height": crop_height, "width": crop_width},
        "input_data_format": "channels_last",
    }
    crop = Preprocessing.from_config(config).crop(image)
    assert crop.shape == (3, crop_height, crop_width)
    np.testing.assert_array_equal(crop, reference(config, image), strict=True)


def test_a_thread_of_pixels_is_refused_and_not_blown_up() -> None:
    ours = Preprocessing.from_config(CONFIGS["laion"])
    with pytest.raises(ImageError, match="short side of 224") as caught:
        ours.crop(Image.new("RGB", (20_000, 1)))
    assert caught.value.reason is BadReason.TOO_MANY_PIXELS
    assert ours.crop(Image.new("RGB", (1, 900), "white")).min() == 255


def test_the_manifest_gives_the_same_preprocessing_back() -> None:
    for config in CONFIGS.values():
        ours = Preprocessing.from_config(config)
        assert Preprocessing.from_dict(json.loads(json.dumps(ours.to_dict()))) == ours


def test_a_manifest_from_before_greyscale_was_scaled_says_so() -> None:
    ours = Preprocessing.from_config(CONFIGS["laion"])
    assert ours.grey_16_bit == "scaled"
    saved = {key: value for key, value in ours.to_dict().items() if key != "grey_16_bit"}
    assert Preprocessing.from_dict(saved) == replace(ours, grey_16_bit="clipped")


def test_the_output_size_is_known_where_the_config_fixes_it() -> None:
    assert Preprocessing.from_config(CONFIGS["laion"]).output_px() == (224, 224)
    assert Preprocessing.from_config(CONFIGS["no crop"]).output_px() == (50, 40)
    assert Preprocessing.from_config({"do_center_crop": False}).output_px() is None


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no preprocessor_config\.json"):
        Preprocessing.from_folder(tmp_path)


def test_the_processors_own_config_counts_first_as_in_transformers(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor_config(32)))
    whole = {"image_processor": preprocessor_config(64), "processor_class": "CLIPProcessor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(whole), encoding="utf-8-sig")
    assert Preprocessing.from_folder(tmp_path).output_px() == (64, 64)
    (tmp_path / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    assert Preprocessing.from_folder(tmp_path).output_px() == (32, 32)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"size": "big"}', "size is 'big'"),
        ('{"size": {"longest_edge": 7}}', "'height' and 'width'"),
        ('{"size": 0}', "from 1 to 4096"),
        ('{"crop_size": true}', "crop_size is True"),
        ('{"resample": 77}', "77"),
        ('{"image_mean": [0.5, 0.5]}', "2 numbers, expected 3"),
        ('{"image_std": [0.5, 0, 0.5]}', "above 0"),
        ('{"rescale_factor": "x"}', "finite number"),
        ('{"image_mean": [NaN, 0, 0]}', "finite number"),
        ('{"image_processor_type": "BeitImageProcessor"}', "expected one of CLIPImageProcessor, "),
    ],
)
def test_a_wrong_config_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ModelError, match="preprocessor_config") as caught:
        Preprocessing.from_folder(tmp_path)
    assert said in str(caught.value)


def test_decoding_and_cropping_keep_no_link_to_the_source() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(buffer, "PNG")
    crop = Preprocessing.from_config(CONFIGS["laion"]).crop(decode(buffer.getvalue(), ImageLimits()).image)
    assert crop.flags.c_contiguous
    assert crop.dtype == np.uint8
