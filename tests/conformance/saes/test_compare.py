"""The comparison with the libraries: it must not pass what differs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scopeview.importers import load_sae, read_suite
from tests.conformance.saes.__main__ import LAYER, compare
from tests.saes import save_random_native


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A TopK SAE, and its own codes and reconstruction as those of a library."""
    save_random_native(tmp_path, layer=LAYER, d_in=6, n_features=20, k=4)
    sae = load_sae(read_suite(str(tmp_path)).sources[0])
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
    codes = sae.encode(x)
    dense = torch.zeros(30, 20).scatter(1, codes.features, codes.values)
    np.savez(tmp_path / "expected.npz", x=x, codes=dense, rebuilt=sae.decode(codes))
    return tmp_path


def change(case: Path, name: str, at: tuple[int, int], factor: float) -> None:
    arrays = dict(np.load(case / "expected.npz"))
    arrays[name][at] *= factor
    np.savez(case / "expected.npz", **arrays)


def strongest(case: Path) -> tuple[int, int]:
    codes = np.abs(np.load(case / "expected.npz")["codes"])
    row, column = np.unravel_index(codes.argmax(), codes.shape)
    return int(row), int(column)


def test_what_is_equal_holds(case: Path) -> None:
    found = compare(case)
    assert found.holds
    assert (found.n_active, found.n_other, found.codes, found.rebuilt) == (120, 0, 0, 0)


@pytest.mark.parametrize("factor", [0.0, 1.001])
def test_another_code_does_not_hold(case: Path, factor: float) -> None:
    change(case, "codes", strongest(case), factor)
    assert not compare(case).holds


def test_another_reconstruction_does_not_hold(case: Path) -> None:
    change(case, "rebuilt", (0, 0), 2.0)
    assert not compare(case).holds
