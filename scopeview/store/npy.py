"""The one way a `.npy` file of an index is opened.

numpy reads its header with `ast`, whose depth counter all threads share: in Python 3.11 garbage is collected
meanwhile, and where that lets another thread in, either may end in "SystemError: AST constructor recursion
depth mismatch" (python/cpython#106905 is of the same counter). A server opens packs from many threads.
"""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

_ONE_HEADER_AT_A_TIME = Lock()


def map_npy(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """The array, mapped and read-only. Raises as `numpy.load` does: `OSError`, `ValueError`, `EOFError`."""
    with _ONE_HEADER_AT_A_TIME:
        array: np.ndarray[Any, np.dtype[Any]] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
