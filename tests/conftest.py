"""What every test shares: checked axes, no network, and the folder of real images."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jaxtyping
import pytest

# Before the first import of either package: annotations such as `Float[Tensor, "batch d_in"]` are checked at
# run time in tests, and in tests only.
jaxtyping.install_import_hook(["scopeview", "indexer"], "beartype.beartype")

# A loaded machine must not turn a slow example into a failure.
hypothesis.settings.register_profile(
    "scopeview", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("scopeview")

PROJECT_DIR = Path(__file__).resolve().parent.parent
REAL_IMAGES_DIR = PROJECT_DIR.parent / "shared" / "images"


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


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder with the real image sets: `laion/` (two tars) and `photos/` (tars and Parquet)."""
    if not REAL_IMAGES_DIR.is_dir():
        pytest.fail(
            f"no real images: {REAL_IMAGES_DIR} is missing. The tests read them from ../shared/images beside "
            "the project folder; CONTRIBUTING.md says what it holds.",
            pytrace=False,
        )
    return REAL_IMAGES_DIR
