"""From a sample's bytes to what the model and the index need, in order and never far ahead."""

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer.prepare import Prepared, Preparer, batched, ordered
from indexer.sources import BadSample, Sample
from scopeview.errors import BadReason
from scopeview.images import Grey16
from scopeview.vision.preprocess import CONFIG_NAME, Preprocessing
from tests.models import preprocessor_config


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def preprocessing(tmp_path: Path) -> Preprocessing:
    (tmp_path / CONFIG_NAME).write_text(json.dumps(preprocessor_config(32)))
    return Preprocessing.from_folder(tmp_path)


def sample(image: bytes, key: str = "a/b") -> Sample:
    return Sample(key, image, "a caption", "https://example.org", "7", punsafe=0.25, pwatermark=None)


def sample_image(colour: str, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_sample_becomes_its_entry_crop_and_thumbnail(preprocessing: Preprocessing) -> None:
    image = sample_image("#ff8000", 60, 40)
    given_back, prepared = Preparer(preprocessing, thumb_px=16)(sample(image))
    assert given_back == sample(image)
    assert prepared is not None
    assert prepared.entry == (
        (
            "a/b",
            "a caption",
            "https://example.org",
            "7",
            60,
            40,
            hashlib.sha256(image).hexdigest(),
            0.25,
            None,
        )
    )
    assert prepared.crop.shape == (3, 32, 32)
    assert prepared.crop[:, 0, 0].tolist() == [255, 128, 0]
    with Image.open(io.BytesIO(prepared.thumb)) as thumb:
        assert (thumb.format, thumb.size) == ("WEBP", (16, 16))


@pytest.mark.parametrize(
    ("how", "level", "said"), [("scaled", 0x12, "scaled to 8 bits"), ("clipped", 255, "cut off at 255")]
)
def test_sixteen_bit_greyscale_is_used_and_noted(
    preprocessing: Preprocessing, how: Grey16, level: int, said: str
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 40), 0x1234, np.uint16)).save(buffer, "PNG")
    prepare = Preparer(replace(preprocessing, grey_16_bit=how), thumb_px=16)
    _, prepared = prepare(sample(buffer.getvalue()))
    assert prepared is not None
    assert prepared.crop[:, 0, 0].tolist() == [level] * 3
    assert prepared.note == BadSample("a/b", BadReason.GREY_16_BIT, f"the image is used, {said}")
    _, ordinary = prepare(sample(sample_image("red", 40, 40)))
    assert ordinary is not None
    assert ordinary.note is None


def test_without_a_size_there_is_no_thumbnail(preprocessing: Preprocessing) -> None:
    _, prepared = Preparer(preprocessing, thumb_px=None)(sample(sample_image("red", 40, 40)))
    assert isinstance(prepared, Prepared)
    assert prepared.thumb == b""


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", BadReason.EMPTY),
        (b"no image at all", BadReason.UNSUPPORTED),
        (sample_image("red", 40, 40)[:60], BadReason.CORRUPT),
    ],
)
def test_a_sample_that_cannot_be_used_says_why(
    preprocessing: Preprocessing, image: bytes, reason: BadReason
) -> None:
    bad, prepared = Preparer(preprocessing, thumb_px=16)(sample(image))
    assert prepared is None
    assert isinstance(bad, BadSample)
    assert (bad.key, bad.reason) == ("a/b", reason)
    assert bad.detail


def test_a_bad_sample_stays_as_it_is(preprocessing: Preprocessing) -> None:
    bad = BadSample("key", BadReason.DUPLICATE_KEY, "twice")
    assert Preparer(preprocessing, thumb_px=16)(bad) == (bad, None)


def test_the_order_is_that_of_the_items_whatever_finishes_first(pool: ThreadPoolExecutor) -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(timeout=60)
        elif item == 3:
            first_may_end.set()
        return item * item

    assert list(ordered(pool, work, range(20), ahead=5)) == [item * item for item in range(20)]


@given(st.integers(0, 30), st.integers(0, 8))
def test_it_is_map_and_never_more_than_ahead_items_are_taken_unasked(n_items: int, ahead: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(n_items):
            taken += 1
            yield item

    with ThreadPoolExecutor(2) as pool:
        for n_asked, found in enumerate(ordered(pool, str, items(), ahead=ahead), start=1):
            assert found == str(n_asked - 1)
            assert taken <= n_asked + ahead
    assert taken == n_items


def test_an_error_reaches_the_one_who_asks_at_its_place(pool: ThreadPoolExecutor) -> None:
    results = ordered(pool, lambda item: 1 // item, [1, 1, 0, 1], ahead=10)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_source_reaches_the_one_who_asks(pool: ThreadPoolExecutor) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        list(ordered(pool, str, items(), ahead=10))


def test_what_has_not_begun_when_it_is_left_is_not_begun() -> None:
    begun: list[int] = []
    may_go_on = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        assert item == 0 or may_go_on.wait(timeout=60)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = ordered(pool, work, range(10), ahead=5)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]
        may_go_on.set()
    assert begun in ([0], [0, 1])


@given(st.lists(st.integers()), st.integers(1, 9))
def test_batches_are_the_items_in_order_and_all_but_the_last_are_full(items: list[int], size: int) -> None:
    batches = list(batched(iter(items), size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(1 <= len(batch) <= size for batch in batches)


def test_batches_are_made_as_they_are_asked_for() -> None:
    seen: list[int] = []
    batches = batched((seen.append(item) or item for item in range(10)), 3)  # type: ignore[func-returns-value]
    assert seen == []
    assert next(batches) == [0, 1, 2]
    assert seen == [0, 1, 2]


def test_a_crop_is_what_the_models_own_processor_cuts(preprocessing: Preprocessing) -> None:
    _, prepared = Preparer(preprocessing, thumb_px=None)(sample(sample_image("blue", 33, 70)))
    assert prepared is not None
    np.testing.assert_array_equal(prepared.crop, preprocessing.crop(Image.new("RGB", (33, 70), "blue")))
