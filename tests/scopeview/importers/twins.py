"""What tests of readers share: inputs, random tensors, dense codes to compare with a library's formula."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from scopeview.importers import SaeSource, load_sae, read_suite
from scopeview.sae.autoencoder import Sae
from scopeview.slots import Layer

Dense = NDArray[np.float64]
D_IN, N_FEATURES, K = 6, 20, 5
X = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(9))
Shape = tuple[int, ...]


def tensors(*seed: int, **shapes: Shape) -> dict[str, torch.Tensor]:
    """Random tensors by name; `__` in a name stands for a dot."""
    random = torch.Generator().manual_seed(sum(seed))
    return {name.replace("__", "."): torch.randn(*shape, generator=random) for name, shape in shapes.items()}


@contextmanager
def pickled_class(name: str, values: Mapping[str, object]) -> Iterator[object]:
    """An instance of a class of that name, to pickle. It is gone afterwards, and its code must never run."""
    module_name, _, class_name = name.rpartition(".")

    def run(*_: object) -> None:
        raise AssertionError("its code was run")

    kind = type(class_name, (), {"__module__": module_name, "__setstate__": run})
    parts = module_name.split(".")
    modules = {".".join(parts[: n + 1]): ModuleType(".".join(parts[: n + 1])) for n in range(len(parts))}
    setattr(modules[module_name], class_name, kind)
    instance = kind()
    vars(instance).update(values)
    with patch.dict(sys.modules, modules):
        yield instance


def source_of(path: Path, layers: list[Layer] | None = None) -> SaeSource:
    [source] = read_suite(str(path), layers).sources
    return source


def load(path: Path, layers: list[Layer] | None = None) -> Sae:
    return load_sae(source_of(path, layers))


def dense(sae: Sae, x: torch.Tensor = X) -> Dense:
    codes = sae.encode(x)
    size = (len(x), sae.config.n_features)
    return torch.zeros(size).scatter(1, codes.features, codes.values).double().numpy()


def wide(state: dict[str, torch.Tensor]) -> dict[str, Dense]:
    """The same tensors in float64."""
    return {name: tensor.double().numpy() for name, tensor in state.items()}


def raw(x: torch.Tensor = X) -> Dense:
    return x.double().numpy()


def relu(pre: Dense) -> Dense:
    return np.maximum(pre, 0)


def topk(pre: Dense, k: int = K) -> Dense:
    return np.where(pre >= np.sort(pre, axis=1)[:, -k, None], pre, 0)


def assert_equal(sae: Sae, codes: Dense, rebuilt: Dense, x: torch.Tensor = X) -> None:
    """The SAE's codes and its reconstruction in raw units are these; the same features fire."""
    found = dense(sae, x)
    assert ((found != 0) == (codes != 0)).all()
    np.testing.assert_allclose(found, codes, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(sae.denormalize(sae(x).x_hat, x), rebuilt, rtol=1e-4, atol=2e-5)
