"""Decodes an uploaded file to the square that the model sees, in a process of its own.

Decoders are C code that takes as long as a file makes it, and a thread cannot be stopped. A process can be
stopped: at its deadline, when the sender leaves, and when the server ends. It has low priority and limited
memory, and a crash of the decoder ends that process, not the server. The process imports only what images
need.
"""

import math
import os
import sys
from functools import cache
from typing import NamedTuple, Protocol

import anyio
import anyio.to_process
import numpy as np
from anyio import BrokenWorkerProcess
from jaxtyping import UInt8

from scopeview.errors import BadReason, ImageError
from scopeview.images import Grey16, ImageLimits, decode
from scopeview.vision.preprocess import Preprocessing

N_PROCESSES = 2
"""Images decoded at one time: one of 50 megapixels is 150 MB of pixels."""
MAX_PROCESS_BYTES = 4 * 1024**3
"""The address space of one process; an image that needs more is reported as damaged."""

Crop = UInt8[np.ndarray, "3 height width"]


class DecodedCrop(NamedTuple):
    """The square that the model sees, and how 16-bit grayscale became 8-bit: None for all other files."""

    crop: Crop
    grey_16_bit: Grey16 | None


class Decoder(Protocol):
    """Decodes an upload. Raises `ImageError`, and other errors if it cannot be done now."""

    async def __call__(
        self, data: bytes, limits: ImageLimits, preprocessing: Preprocessing
    ) -> DecodedCrop: ...


class ProcessDecoder:
    """Decodes in processes that are kept for the next image. For one event loop."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s

    async def __call__(self, data: bytes, limits: ImageLimits, preprocessing: Preprocessing) -> DecodedCrop:
        """Raises `ImageError` also if it takes too long or crashes the decoder, which ends the process."""
        try:
            with anyio.fail_after(self._deadline_s):
                return await anyio.to_process.run_sync(
                    _crop_in_process, data, limits, preprocessing, cancellable=True, limiter=_unlimited()
                )
        except TimeoutError:
            detail = f"decoding this image takes longer than {self._deadline_s:g} seconds"
            raise ImageError(BadReason.SLOW_TO_DECODE, detail) from None
        except BrokenWorkerProcess:
            raise ImageError(BadReason.CORRUPT, "this image crashed the decoder") from None


def decoded_crop(data: bytes, limits: ImageLimits, preprocessing: Preprocessing) -> DecodedCrop:
    """Returns the square that a model with that preprocessing sees. Raises `ImageError`."""
    decoded = decode(data, limits, preprocessing.grey_16_bit)
    grey_16_bit = preprocessing.grey_16_bit if decoded.is_grey_16_bit else None
    return DecodedCrop(preprocessing.crop(decoded.image), grey_16_bit)


def _crop_in_process(data: bytes, limits: ImageLimits, preprocessing: Preprocessing) -> DecodedCrop:
    _restrict_process()
    return decoded_crop(data, limits, preprocessing)


@cache
def _restrict_process() -> None:
    """Gives the process, once, low priority and limited memory: pages go first, no image takes all memory."""
    if sys.platform == "linux":
        import resource

        os.nice(10)
        resource.setrlimit(resource.RLIMIT_AS, (MAX_PROCESS_BYTES, MAX_PROCESS_BYTES))


def _unlimited() -> anyio.CapacityLimiter:
    """Returns a limiter without a limit: admission was decided before."""
    return anyio.CapacityLimiter(math.inf)
