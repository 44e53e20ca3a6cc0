"""Batches that fit: probed, halved when they do not, compiled where that works."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
import torch

from indexer.batching import Batcher, is_out_of_memory, largest_fitting_batch, try_compile
from scopeview.errors import ScopeviewError
from scopeview.vision.clip import Clip
from scopeview.vision.encoder import Encoder
from tests.models import save_random_clip

GB = 1024**3


class Small:
    """A device that takes so many images at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[list[int]] = []

    def start(self, pixels: torch.Tensor) -> list[int]:
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        found: list[int] = pixels[:, 0, 0, 0].tolist()
        self.taken.append(found)
        return found


def batch(n: int) -> torch.Tensor:
    """The first colour of image i is i."""
    return torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 3, 2, 2)


def test_a_batch_that_fits_goes_in_one_piece() -> None:
    device = Small(8)
    assert Batcher(device, 8).start(batch(8)) == [list(range(8))]


def test_out_of_memory_halves_the_batch_and_loses_no_image() -> None:
    device, said = Small(3), list[str]()
    batcher = Batcher(device, 8, said.append)
    assert list(chain.from_iterable(batcher.start(batch(8)))) == list(range(8))
    assert [len(piece) for piece in device.taken] == [2, 2, 2, 2]
    assert said == [f"out of memory: going on with {n} images at once" for n in (4, 2)]
    device.taken.clear()
    batcher.start(batch(8))  # the next batch is not tried whole again
    assert [len(piece) for piece in device.taken] == [2, 2, 2, 2]


def test_where_not_one_image_fits_the_run_ends_with_advice() -> None:
    with pytest.raises(ScopeviewError, match=r"one image does not fit .* --device cpu"):
        Batcher(Small(0), 4, lambda _: None).start(batch(4))


def test_another_error_is_no_lack_of_memory() -> None:
    class Broken(Small):
        def start(self, pixels: torch.Tensor) -> list[int]:
            raise RuntimeError(f"expected scalar type Half, {len(pixels)}")

    with pytest.raises(RuntimeError, match="expected scalar type"):
        Batcher(Broken(1), 4).start(batch(4))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))


@pytest.mark.parametrize(
    ("mb_an_image", "free_gb", "expected"),
    [(100, 80, 512), (100, 140, 512), (20, 140, 1024), (100, 4, 28), (100_000, 80, 1)],
)
def test_a_batch_is_as_large_as_free_memory_allows(mb_an_image: int, free_gb: int, expected: int) -> None:
    found = largest_fitting_batch(lambda n: n * mb_an_image * 1024**2, free_gb * GB)
    assert found == expected


def test_where_even_the_trial_does_not_fit_half_of_it_is_taken() -> None:
    def peak(_: int) -> int:
        raise torch.OutOfMemoryError

    assert largest_fitting_batch(peak, GB, tried=32) == 16


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("clip")
    return Clip.load(str(save_random_clip(folder, image_px=32, width=32, n_layers=3, n_heads=2)))


def taps(clip: Clip, layers: Sequence[int]) -> torch.Tensor:
    pixels = torch.arange(2 * 3 * 32 * 32).remainder(251).to(torch.uint8).reshape(2, 3, 32, 32)
    return torch.cat(
        [found.flatten() for found in clip.residual_stream(pixels, layers, [0, 5]).residuals.values()]
    )


def test_what_is_compiled_runs_instead_and_gives_the_same_residuals(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[dict[str, Any]]()

    def compile_(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            calls.append(options)
            return function(*arguments)

        return run

    plain = taps(clip, [0, 2])
    monkeypatch.setattr(torch, "compile", compile_)
    assert try_compile(Encoder(clip, {}, ["cls"])) == "yes"
    torch.testing.assert_close(taps(clip, [0, 2]), plain, rtol=0, atol=0)
    assert calls == [{"dynamic": False}] * 2
    clip.uncompile()
    taps(clip, [0, 2])
    assert len(calls) == 2


def test_where_compiling_fails_it_runs_as_it_is_written(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_(_: object, **__: object) -> Callable[..., Any]:
        def run(*_: object) -> None:
            raise RuntimeError("no compiler here\nand more")

        return run

    plain = taps(clip, [1])
    monkeypatch.setattr(torch, "compile", compile_)
    assert try_compile(Encoder(clip, {}, ["cls"])) == "no (RuntimeError: no compiler here)"
    torch.testing.assert_close(taps(clip, [1]), plain, rtol=0, atol=0)
