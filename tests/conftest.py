"""What every test shares: checked axes, no network, and sets of images."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import hypothesis
import jaxtyping
import pytest

from tests.clock import Clock

if TYPE_CHECKING:
    from tests.image_sets import ImageSets

# Before the first import of either package: annotations such as `Float[Tensor, "batch d_in"]` are checked at
# run time in tests, and in tests only.
jaxtyping.install_import_hook(["scopeview", "indexer"], "beartype.beartype")

# A loaded machine must not turn a slow example into a failure.
hypothesis.settings.register_profile(
    "scopeview", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("scopeview")

PROJECT_DIR = Path(__file__).resolve().parent.parent


def is_loopback(address: Any) -> bool:
    """A `socket.connect` address that stays on this machine: loopback, or a path (a Unix socket)."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    return host in ("localhost", "::1") or host.startswith("127.")


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Fails any test that connects to another machine, even where there is a network."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if not is_loopback(address):
            raise RuntimeError(f"a test connected to {address!r}; tests may use loopback only")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted checkpoints go to a folder of the test run, never to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCOPEVIEW_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def upload_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What uploads per minute are counted by. Stands still; the rest of the process goes by its own."""
    clock = Clock(60_000.0)  # a whole minute
    for module in ("limits.storage.memory", "limits.strategies", "app.uploads.rate_limit"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=clock))
    return clock


@pytest.fixture(scope="session")
def drawn_images(tmp_path_factory: pytest.TempPathFactory) -> ImageSets:
    """Sets of images that are made here, on any machine."""
    from tests.image_sets import write_image_sets  # not before the import hook

    return write_image_sets(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def corpus() -> ImageSets:
    """The 770 real images. Skips where there are none; fails where they are asked for and missing."""
    from tests import image_sets

    try:
        found = image_sets.corpus()
    except FileNotFoundError as error:
        pytest.fail(str(error), pytrace=False)
    return found or pytest.skip(image_sets.NO_CORPUS)


@pytest.fixture(scope="session", params=["drawn", pytest.param("corpus", marks=pytest.mark.slow)])
def images(request: pytest.FixtureRequest) -> ImageSets:
    """Both in turn: what is a law of drawn images is one of real images too."""
    sets: ImageSets = request.getfixturevalue("drawn_images" if request.param == "drawn" else "corpus")
    return sets
