"""Images of edited embeddings, by stand-ins: what is asked of a generator, and what is refused."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32
from PIL import Image

from scopeview.analysis.feature_edits import SteeredEmbeddings
from scopeview.analysis.generator import KANDINSKY, Generator, Kandinsky, draw_steered, load_kandinsky
from scopeview.errors import InputError

TURNED = SteeredEmbeddings(np.array([0.0, 1.0, 2.0], np.float32), np.array([200.0, 1.0, 2.0], np.float32))


class Standin:
    """An image of the first dimension, and of the seed."""

    clip = "someone/a-clip"
    projection = 3

    def draw(self, embedding: Float32[np.ndarray, " projection"], *, seed: int) -> Image.Image:
        return Image.new("RGB", (4, 4), (int(embedding[0]), seed, 0))


def test_both_embeddings_are_drawn_from_the_same_noise() -> None:
    assert isinstance(Standin(), Generator)
    drawn = draw_steered(Standin(), TURNED, clip="someone/a-clip@abc", layer="embed", seed=7)
    assert drawn.before.getpixel((0, 0)) == (0, 7, 0)
    assert drawn.after.getpixel((0, 0)) == (200, 7, 0)


@pytest.mark.parametrize(
    ("clip", "layer", "turned", "said"),
    [
        ("someone/a-clip", 11, TURNED, "not the final embedding"),
        ("laion/another", "embed", TURNED, "someone/a-clip, and these are of laion/another"),
        ("someone/a-clip", "embed", SteeredEmbeddings(*np.ones((2, 5), np.float32)), "5 dimensions"),
    ],
)
def test_what_the_generator_cannot_know_is_refused(
    clip: str, layer: Any, turned: SteeredEmbeddings, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        draw_steered(Standin(), turned, clip=clip, layer=layer)


class Pipeline:
    """In the place of the pipeline of `diffusers`."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def to(self, device: str) -> "Pipeline":
        assert device == "cpu"
        return self

    def __call__(self, **asked: Any) -> SimpleNamespace:
        self.asked.append(asked)
        return SimpleNamespace(images=[Image.new("RGB", (asked["width"], asked["height"]))])


def test_kandinsky_is_asked_with_the_embedding_and_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, fetched = Pipeline(), list[Any]()

    def from_pretrained(ref: str, **options: Any) -> Pipeline:
        fetched.append((ref, options))
        return pipeline

    diffusers = ModuleType("diffusers")
    diffusers.KandinskyV22Pipeline = SimpleNamespace(from_pretrained=from_pretrained)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    generator: Generator = load_kandinsky(device="cpu")
    assert fetched == [(KANDINSKY, {"torch_dtype": torch.float32, "use_safetensors": True})]
    embedding = np.random.default_rng(0).normal(size=Kandinsky.projection).astype(np.float32)
    assert generator.draw(embedding, seed=3).size == (512, 512)
    (asked,) = pipeline.asked
    np.testing.assert_array_equal(asked["image_embeds"][0].numpy(), embedding)
    assert not asked["negative_image_embeds"].any()
    assert asked["generator"].initial_seed() == 3


def test_without_diffusers_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r"scopeview\[diffusion\]"):
        load_kandinsky(device="cpu")
