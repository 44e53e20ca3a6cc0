"""From an upright RGB image to the uint8 square a model sees, as its own `preprocessor_config.json` says.

Uses Pillow and NumPy only, and gives bit for bit the pixels that transformers' Pillow processors of CLIP,
ViT, DeiT and BiT (which DINOv2 takes) have between their crop and their rescaling. DINOv3's processor, which
exists on torchvision alone, resizes unrounded colours: its pixels differ from these by a level or two. The
device does scaling and normalising (`clip.normalization_table`). Knows nothing of file formats (`images`
does) and nothing of the model.
"""

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from scopeview.errors import BadReason, ImageError, ModelError
from scopeview.images import Grey16
from scopeview.store.files import read_json

CONFIG_NAME = "preprocessor_config.json"
# Of processors as a whole; it holds the same under `image_processor`, and is preferred, as by transformers.
PROCESSOR_CONFIG_NAME = "processor_config.json"

# An image 20,000 pixels wide and 1 high would be resized to a billion pixels for the sake of its middle.
MAX_RESIZED_PIXELS = 50_000_000

_SQUARE = {"height": 224, "width": 224}
_CLIP: dict[str, Any] = {
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": int(Image.Resampling.BICUBIC),
    "do_center_crop": True,
    "crop_size": _SQUARE,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_VIT = _CLIP | _HALF | {"size": _SQUARE, "resample": int(Image.Resampling.BILINEAR), "do_center_crop": False}
DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIP": _CLIP,
    "Bit": _CLIP,
    "ViT": _VIT,
    "DeiT": _CLIP | _HALF | {"size": {"height": 256, "width": 256}},
    "DINOv3ViT": _VIT | _IMAGENET,
}
"""What transformers assumes where a config is silent, by the beginning of the image processor's name."""


@dataclass(frozen=True)
class Preprocessing:
    """Sizes are (height, width) in pixels; a step that is None is skipped. Colours are red, green, blue."""

    shortest_edge_px: int | None
    resize_px: tuple[int, int] | None
    resample: int
    crop_px: tuple[int, int] | None
    rescale_factor: float | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    grey_16_bit: Grey16 = "scaled"
    """The conversion of files with 16-bit greyscale; "clipped" in indexes begun by older versions."""

    @classmethod
    def from_folder(cls, folder: Path) -> "Preprocessing":
        """Reads `processor_config.json` or `preprocessor_config.json`.

        Raises `ModelError` if both are absent, or if the one that takes precedence is unusable.
        """
        path = folder / CONFIG_NAME
        config = _read_object(folder / PROCESSOR_CONFIG_NAME).get("image_processor")
        if isinstance(config, dict):
            path = folder / PROCESSOR_CONFIG_NAME
        elif path.is_file():
            config = _read_object(path)
        else:
            raise ModelError(
                f"{folder} has no {CONFIG_NAME} and no {PROCESSOR_CONFIG_NAME} with an image_processor; one "
                "of them says how images are resized and normalised"
            )
        try:
            return cls.from_config(config)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{path}: {error}") from error

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessing":
        """Reads the keys of a Hugging Face image processor. Raises `ValueError` or `TypeError`."""
        full = _defaults(config) | {key: value for key, value in config.items() if value is not None}
        shortest, exact = _resize_size(full["size"]) if full["do_resize"] else (None, None)
        return cls(
            shortest_edge_px=shortest,
            resize_px=exact,
            resample=int(Image.Resampling(full["resample"])),
            crop_px=_height_width("crop_size", full["crop_size"]) if full["do_center_crop"] else None,
            rescale_factor=_finite(full["rescale_factor"]) if full["do_rescale"] else None,
            mean=_colours("image_mean", full["image_mean"]) if full["do_normalize"] else None,
            std=_positive_colours("image_std", full["image_std"]) if full["do_normalize"] else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values, for an index's manifest."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`. Raises `TypeError` for unknown or missing keys."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
        fields.setdefault("grey_16_bit", "clipped")
        return cls(**fields)

    def crop(self, image: Image.Image) -> UInt8[np.ndarray, "3 height width"]:
        """The pixels of an RGB image after resizing and cropping; black where the crop is larger.

        Raises `ImageError` (TOO_MANY_PIXELS) for an image so long and thin that resizing would explode it.
        """
        resized = image
        size_px = self._resized_px(image.height, image.width)
        if size_px is not None:
            resized = image.resize((size_px[1], size_px[0]), Image.Resampling(self.resample))
        pixels = np.asarray(resized if self.crop_px is None else _center_crop(resized, self.crop_px))
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def output_px(self) -> tuple[int, int] | None:
        """The (height, width) of every output; None if it depends on the image."""
        return self.crop_px or self.resize_px

    def _resized_px(self, height: int, width: int) -> tuple[int, int] | None:
        if self.shortest_edge_px is None:
            return self.resize_px
        edge = self.shortest_edge_px
        longest = int(edge * max(height, width) / min(height, width))
        if edge * longest > MAX_RESIZED_PIXELS:
            raise ImageError(
                BadReason.TOO_MANY_PIXELS,
                f"the image is {width} x {height}: resized to a short side of {edge} it would have "
                f"{edge * longest:,} pixels; at most {MAX_RESIZED_PIXELS:,} are accepted",
            )
        return (longest, edge) if height > width else (edge, longest)


def _read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no file. Raises `ModelError` for any other content."""
    if not path.is_file():
        return {}
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} holds a JSON {type(config).__name__}, expected an object")
    return config


def _center_crop(image: Image.Image, size_px: tuple[int, int]) -> Image.Image:
    """Crops the middle of the image, padded with black where the image is smaller than the crop.

    transformers puts the odd row of a padded side before the image (ceil), and that of a cropped side after
    it (floor); floor((image - crop) / 2) expresses both. Pillow's crop fills with zeros outside.
    """
    top, left = (image.height - size_px[0]) // 2, (image.width - size_px[1]) // 2
    return image.crop((left, top, left + size_px[1], top + size_px[0]))


def _defaults(config: dict[str, Any]) -> dict[str, Any]:
    """What the config's image processor assumes. Raises `ValueError` for one that is not known."""
    name = config.get("image_processor_type") or config.get("feature_extractor_type") or "CLIPImageProcessor"
    kind = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", str(name))
    if kind not in DEFAULTS:
        accepted = ", ".join(f"{kind}ImageProcessor" for kind in DEFAULTS)
        raise ValueError(f"the image processor is {name!r}, expected one of {accepted}")
    return DEFAULTS[kind]


def _resize_size(size: object) -> tuple[int | None, tuple[int, int] | None]:
    """(shortest edge, None) or (None, (height, width)); a bare number is the shortest edge."""
    if isinstance(size, dict) and "shortest_edge" in size and size.get("longest_edge") is None:
        return _count("size", size["shortest_edge"]), None
    if isinstance(size, dict):
        return None, _height_width("size", size)
    return _count("size", size), None


def _height_width(name: str, size: object) -> tuple[int, int]:
    if not isinstance(size, dict):
        return _count(name, size), _count(name, size)
    if not {"height", "width"} <= size.keys():
        raise ValueError(f"{name} is {size!r}, expected a number, or 'height' and 'width'")
    return _count(name, size["height"]), _count(name, size["width"])


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 4096:
        raise ValueError(f"{name} is {value!r}, expected a number of pixels from 1 to 4096")
    return value


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _colours(name: str, values: object) -> tuple[float, float, float]:
    numbers = values if isinstance(values, list) else [values] * 3
    if len(numbers) != 3:
        raise ValueError(f"{name} has {len(numbers)} numbers, expected 3 (red, green, blue)")
    red, green, blue = (_finite(number) for number in numbers)
    return red, green, blue


def _positive_colours(name: str, values: object) -> tuple[float, float, float]:
    colours = _colours(name, values)
    if min(colours) <= 0:
        raise ValueError(f"{name} is {list(colours)}, expected numbers above 0")
    return colours
