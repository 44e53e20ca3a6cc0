"""The one way a `.npy` file of an index is opened.

numpy reads its header with `ast`, whose depth counter all threads share: in Python 3.11 garbage is collected
meanwhile, and where that lets another thread in, either may end in "SystemError: AST constructor recursion
depth mismatch" (python/cpython#106905 is of the same counter). A server opens packs from many threads.
"""

from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

_ONE_HEADER_AT_A_TIME = Lock()


def open_npy(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """The array, mapped and read-only. Raises `OSError`, or `ValueError` for what is no array.

    A mapped file that is cut ends the process that reads beyond its end: what is kept open is read instead.
    """
    return _load(path, "r")


def read_npy(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in memory. Raises `OSError`, or `ValueError` for what is no array."""
    return _load(path, None)


def _load(path: Path, mmap_mode: Literal["r"] | None) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        with _ONE_HEADER_AT_A_TIME:
            array: np.ndarray[Any, np.dtype[Any]] = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # of a damaged header numpy raises whatever parsing it ends in
        raise ValueError(f"{path.name} is no readable array: {error!r}") from error
    return array
