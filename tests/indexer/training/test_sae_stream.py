"""Images and their activations, from any place on."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from indexer.training.activations import ActivationBatch, Activations, EmbedMemory, StreamPosition
from indexer.training.image_stream import ImageStream, StreamedImage, open_stream
from indexer.training.sae_config import Plan, SaeSettings
from indexer.training.schedule import Schedule
from scopeview.errors import InputError, TooManyBadImagesError
from scopeview.sae.normalization import Standardization
from scopeview.slots import EMBED
from scopeview.vision.clip import ResidualActivations
from scopeview.vision.preprocess import Preprocessing
from tests.indexer.training.saes_in_training import settings
from tests.models import preprocessor_config

N_TOKENS, D_IN = 3, 4


@pytest.fixture
def preprocessing(tmp_path: Path) -> Preprocessing:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor_config(8)))
    return Preprocessing.from_folder(folder)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven images, each of one grey, and one file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(7):
        Image.new("RGB", (8, 8), (number, number, number)).save(folder / f"{number}.png")
    (folder / "3b.png").write_bytes(b"no image")
    return folder


START = StreamPosition(0, 0)


def _greys(images: Sequence[StreamedImage]) -> list[int]:
    return [int(image.crop[0, 0, 0]) for image in images]


def test_a_world_goes_on_from_any_scene(preprocessing: Preprocessing) -> None:
    stream = open_stream("world:3", preprocessing, ahead=2)
    whole = list(islice(stream.images(0), 5))
    rest = list(islice(stream.images(whole[1].next_sample), 3))
    assert all(np.array_equal(a.crop, b.crop) for a, b in zip(whole[2:], rest, strict=True))


@pytest.mark.parametrize("name", ["world:", "world:-1", "world:red"])
def test_a_world_without_a_number_is_refused(name: str, preprocessing: Preprocessing) -> None:
    with pytest.raises(InputError, match="names no world"):
        open_stream(name, preprocessing, ahead=2)


def test_a_source_leaves_out_and_counts_what_is_no_image(images: Path, preprocessing: Preprocessing) -> None:
    stream = open_stream(str(images), preprocessing, ahead=2)
    assert _greys(list(stream.images(0))) == [0, 1, 2, 3, 4, 5, 6]
    assert stream.bad.total() == 1


def test_a_source_goes_on_from_any_sample(images: Path, preprocessing: Preprocessing) -> None:
    stream = open_stream(str(images), preprocessing, ahead=2)
    whole = list(stream.images(0))
    for done in range(len(whole)):
        assert _greys(list(stream.images(whole[done].next_sample))) == _greys(whole[done + 1 :])


def test_a_source_that_is_repeated_begins_again_where_it_should(
    images: Path, preprocessing: Preprocessing
) -> None:
    stream = open_stream(str(images), preprocessing, ahead=2)
    whole = list(islice(stream.images(2, repeat_from=2), 14))
    assert _greys(whole) == [2, 3, 4, 5, 6] * 2 + [2, 3, 4, 5]
    for done in range(12):
        again = islice(stream.images(whole[done].next_sample, repeat_from=2), 13 - done)
        assert _greys(list(again)) == _greys(whole[done + 1 :])


def test_too_many_bad_images_end_the_stream(tmp_path: Path, preprocessing: Preprocessing) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number:03}.png").write_bytes(b"no image")
    with pytest.raises(TooManyBadImagesError, match="100 of the first 100 images"):
        list(open_stream(str(folder), preprocessing, ahead=2).images(0))


class _Numbered:
    """A model under which token t of the image of grey g has the activations g * 10 + t."""

    def forward(self, pixels: torch.Tensor, layers: Sequence[int]) -> ResidualActivations:
        grey = pixels[:, 0, 0, 0].float()
        tokens = grey[:, None] * 10 + torch.arange(N_TOKENS)
        residual = tokens[:, :, None].expand(-1, -1, D_IN)
        return ResidualActivations(dict.fromkeys(layers, residual), grey[:, None].expand(-1, D_IN))


class _Greys:
    """One image a sample, of the sample's grey."""

    ref = "greys"
    bad: Any = None

    def __init__(self, n: int) -> None:
        self.n = n

    def identity(self) -> list[list[str]]:
        return []

    def images(self, start: int, *, repeat_from: int | None = None) -> Any:
        del repeat_from
        for number in range(start, self.n):
            yield StreamedImage(np.full((3, 2, 2), number, dtype=np.uint8), number + 1)


def _plan(n_steps: int) -> Plan:
    saes: tuple[SaeSettings, ...] = tuple(settings(layer=layer, d_in=D_IN) for layer in (1, EMBED))
    return Plan(2, n_steps, 6, 0, Schedule(0.1, n_steps), 0, "float32", saes)


def _activations(n_steps: int) -> Activations:
    stats = Standardization(torch.zeros(D_IN), torch.ones(D_IN), 2, eps=0.0)
    return Activations(_plan(n_steps), _Numbered(), {1: stats, EMBED: stats}, torch.device("cpu"))


def _batches(n_steps: int, place: StreamPosition = START, n_images: int = 20) -> list[ActivationBatch]:
    stream: ImageStream = _Greys(n_images)
    return list(_activations(n_steps).batches(stream, place, repeat_from=None))


def test_every_token_of_the_buffer_is_dealt_once_and_in_another_order() -> None:
    dealt = torch.cat([batch.tokens[1][:, 0] for batch in _batches(3)]).tolist()
    in_order = [10.0 * image + token for image in range(6) for token in range(N_TOKENS)]
    assert sorted(dealt) == in_order != dealt


def test_a_step_has_its_own_images_embeddings() -> None:
    assert [batch.tokens[EMBED][:, 0].tolist() for batch in _batches(3)] == [[0, 1], [2, 3], [4, 5]]


def test_from_any_place_on_the_same_tokens_are_dealt() -> None:
    whole = _batches(8)
    for done in range(8):
        rest = _batches(8, whole[done].after)
        assert [b.after for b in rest] == [b.after for b in whole[done + 1 :]]
        for ours, theirs in zip(rest, whole[done + 1 :], strict=True):
            assert all(torch.equal(ours.tokens[layer], theirs.tokens[layer]) for layer in (1, EMBED))


def test_some_tokens_are_of_the_buffer_in_another_order_and_no_more_than_there_are() -> None:
    activations = _activations(3)
    next(activations.batches(_Greys(20), StreamPosition(0, 0), repeat_from=None))
    in_order = [10.0 * image + token for image in range(6) for token in range(N_TOKENS)]
    everything = activations.sample_tokens(1, 10_000)[:, 0].tolist()
    assert sorted(everything) == in_order != everything
    assert activations.sample_tokens(1, 5)[:, 0].tolist() == everything[:5]
    assert sorted(activations.sample_tokens(EMBED, 10)[:, 0].tolist()) == [0, 1, 2, 3, 4, 5]


def test_images_that_run_out_are_an_error_that_says_how_many_there_were() -> None:
    with pytest.raises(InputError, match=r"greys has 15 usable images .* the run takes 16"):
        _batches(8, n_images=15)


def test_the_memory_of_embeddings_goes_on_bit_for_bit() -> None:
    fresh = torch.randn(6, 4, D_IN, generator=torch.Generator().manual_seed(0))
    whole, first, second = (EmbedMemory(D_IN, 0, torch.device("cpu")) for _ in range(3))
    drawn = [whole.draw(x, step) for step, x in enumerate(fresh)]
    for step in range(3):
        first.draw(fresh[step], step)
    second.load(first.state())
    assert all(torch.equal(second.draw(fresh[step], step), drawn[step]) for step in range(3, 6))
    assert drawn[0].shape == (1024, D_IN)
