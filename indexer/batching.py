"""How many images go through the device at once: as many as fit its memory, fewer after it runs out.

The only encoder method it uses is `start`, and it knows about memory only what callers pass in.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from scopeview.errors import ScopeviewError
from scopeview.vision.encoder import Encoder

CPU_BATCH = 8
MAX_BATCH = 1024
_STEP = 32
_TRIED = 32
_SHARE = 0.7  # of the free memory: `any` needs more for a busy image than for another
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


@runtime_checkable
class BatchEncoder(Protocol):
    """An encoder that starts batches."""

    def start(self, pixels: Any) -> Any: ...


class Batcher:
    """Passes batches to the encoder; splits them in halves after the device runs out of memory."""

    def __init__(self, encoder: BatchEncoder, batch_size: int, say: Callable[[str], None] = print) -> None:
        self.size = batch_size
        self._encoder, self._say = encoder, say

    def start(self, crops: UInt8[Tensor, "batch 3 height width"]) -> list[Any]:
        """Starts the batch in as many pieces as memory requires, in order.

        Raises `ScopeviewError` where not even one image fits.
        """
        return list(self._pieces(crops))

    def _pieces(self, crops: Tensor) -> Iterator[Any]:
        done = 0
        while done < len(crops):
            try:
                started = self._encoder.start(crops[done : done + self.size])
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)
                continue
            yield started
            done += self.size

    def _halve(self, error: BaseException) -> None:
        if self.size == 1:
            raise ScopeviewError(
                f"one image does not fit into the device's memory ({error}): fewer --layers, or --device cpu"
            ) from error
        self.size = (self.size + 1) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._say(f"out of memory: going on with {self.size} images at once")


def is_out_of_memory(error: BaseException) -> bool:
    """True for a CUDA out-of-memory error, and for the plain `RuntimeError` of a CPU's allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error).lower() for words in _WORDS)


def largest_fitting_batch(peak_bytes: Callable[[int], int], free_bytes: int, *, tried: int = _TRIED) -> int:
    """The largest batch within bounds, estimated from the memory per image when `tried` images run at once.

    Rounded down to a power of two, so that the same device and model give the same size.
    """
    try:
        a_piece = max(1, peak_bytes(tried) // tried)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return max(1, tried // 2)
    size = min(MAX_BATCH, int(free_bytes * _SHARE) // a_piece)
    if size < _STEP:
        return max(1, size)
    return 1 << (size.bit_length() - 1)


def find_batch_size(encoder: Encoder) -> int:
    """Finds a batch size by probing a CUDA device's memory. A CPU gains nothing from large batches."""
    if encoder.clip.device.type != "cuda":
        return CPU_BATCH
    side = encoder.clip.info.image_px
    device = encoder.clip.device

    def peak_bytes(n_images: int) -> int:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        encoder.start(torch.zeros((n_images, 3, side, side), dtype=torch.uint8)).finish()
        return torch.cuda.max_memory_allocated(device) - before

    peak_bytes(1)  # what is made once, at first use, is no part of a batch
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return largest_fitting_batch(peak_bytes, free_bytes)


def compile_if_cuda(encoder: Encoder, **options: Any) -> str:
    """Compiles CLIP on a CUDA device; returns the outcome in words. On a CPU, compiling gains too little."""
    if encoder.clip.device.type != "cuda":
        return "no"
    return try_compile(encoder, **options)


def try_compile(encoder: Encoder, **options: Any) -> str:
    """Compiles what `tap` runs and tries it once; if that fails, `tap` runs uncompiled."""
    side = encoder.clip.info.image_px
    encoder.clip.compile(**options)
    try:
        encoder.start(torch.zeros((1, 3, side, side), dtype=torch.uint8)).finish()
    except Exception as error:
        encoder.clip.uncompile()
        return f"no ({type(error).__name__}: {str(error).strip().splitlines()[0][:200]})"
    return "yes"
