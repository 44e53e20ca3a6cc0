"""What the worker remembers: the latest images, never more bytes than it may."""

from app.engine.decomposition_cache import DecompositionCache
from scopeview.analysis.decomposition import Decomposition
from tests.app.encoder import FakeEncoder
from tests.app.test_worker import CROP


def decomposed(*layers: int) -> Decomposition:
    return FakeEncoder().decompose(CROP[None], layers, embedding=False)[0]


SIZE = decomposed(1).n_bytes


def test_the_longest_unused_is_forgotten_first() -> None:
    memory = DecompositionCache(2 * SIZE)
    for name in "ab":
        memory.add(name, decomposed(1))
    memory.get("a")
    memory.add("c", decomposed(1))
    assert [memory.get(name).covers([1], embedding=False) for name in "abc"] == [True, False, True]
    assert memory.n_bytes == 2 * SIZE


def test_what_is_learned_of_an_image_is_added_to_what_is_known() -> None:
    memory = DecompositionCache(3 * SIZE)
    memory.add("a", decomposed(1))
    assert memory.add("a", decomposed(3)).covers([1, 3], embedding=False)
    memory.add("a", decomposed(3))
    assert memory.n_bytes == 2 * SIZE


def test_an_image_that_does_not_fit_is_given_and_not_kept() -> None:
    memory = DecompositionCache(SIZE - 1)
    assert memory.add("a", decomposed(1)).covers([1], embedding=False)
    assert memory.get("a") == Decomposition()
    assert memory.n_bytes == 0
