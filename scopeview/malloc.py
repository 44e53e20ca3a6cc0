"""Settings of the C library's allocator, for the whole process. Functions return False without glibc."""

import ctypes
import platform

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1024 * 1024
_KEPT_BYTES = 2 * 1024 * 1024
_LARGEST_IN_HEAP = 32 * 1024 * 1024  # glibc takes no higher threshold
_ALL_KEPT_BYTES = 1024**3


def release_large_blocks() -> bool:
    """Blocks of 1 MB and more go back to the system at once when they are freed; 2 MB of smaller ones stay.

    By itself glibc soon takes blocks of up to 32 MB from its heap, where the little that is remembered of an
    upload keeps the much that it took from being given back: after 600 uploads to the demo a server held
    2.1 GB, and with this 0.96 GB. What stays is for the next page: to compress one takes most of 1 MB, which
    the system would hand out anew every time, zeroed.
    """
    return _set_mallopt({_M_MMAP_THRESHOLD: _LARGE_BYTES, _M_TRIM_THRESHOLD: _KEPT_BYTES})


def keep_freed_memory() -> bool:
    """Blocks of up to 32 MB come from the heap, which keeps up to 1 GB that is free.

    For work that takes and frees the same large blocks again and again: otherwise the system hands out every
    one of their pages anew, zeroed. A batch of eight images through ViT-L/14 takes a tenth less time.
    """
    return _set_mallopt({_M_MMAP_THRESHOLD: _LARGEST_IN_HEAP, _M_TRIM_THRESHOLD: _ALL_KEPT_BYTES})


def _set_mallopt(options: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(bool(mallopt(option, value)) for option, value in options.items())
