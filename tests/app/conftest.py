"""One small index for all of these tests, and sites that serve it."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette prefers a client that is not among our packages
    from starlette.testclient import TestClient

from app.engine.text_encoders import TextEncoderFactory
from app.engine.worker import EncoderFactory
from app.main import create_app
from app.settings import Settings
from app.uploads.decoding import DecodedCrop, Decoder, decoded_crop
from scopeview.images import ImageLimits
from scopeview.vision.preprocess import Preprocessing
from tests.app.encoder import FakeEncoder, factory_of
from tests.app.index import SmallIndex, write_index
from tests.app.tower import FakeTower, tower_factory

StartSite = Callable[..., TestClient]


async def decoded_here(data: bytes, limits: ImageLimits, preprocessing: Preprocessing) -> DecodedCrop:
    """Without a process of its own, which takes a second to start."""
    return decoded_crop(data, limits, preprocessing)


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_index(tmp_path_factory.mktemp("indexes") / "tiny")


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def upload_dir(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def start_site(small_index: SmallIndex, encoder: FakeEncoder, upload_dir: Path) -> Iterator[StartSite]:
    """A client of a site with the settings given; ended with the test."""
    with ExitStack() as stack:

        def start(
            *,
            factory: EncoderFactory | None = None,
            text_factory: TextEncoderFactory | None = None,
            decoder: Decoder | None = None,
            real_encoder: bool = False,
            **settings: Any,
        ) -> TestClient:
            given = {"index_dirs": [small_index.index_dir], "upload_dir": upload_dir, **settings}
            stand_in = None if real_encoder else factory or factory_of(encoder)
            words = None if real_encoder else text_factory or tower_factory(FakeTower())
            app = create_app(
                Settings(**given),
                encoder_factory=stand_in,
                text_factory=words,
                decoder=None if real_encoder else decoder or decoded_here,
            )
            client = TestClient(app, follow_redirects=False, raise_server_exceptions=False)
            return stack.enter_context(client)

        yield start


@pytest.fixture
def site(start_site: StartSite) -> TestClient:
    return start_site()


@pytest.fixture
def strict_site(start_site: StartSite) -> TestClient:
    """One that fails the test where a model is loaded."""

    def never(_: Path) -> FakeEncoder:
        raise AssertionError("a model was loaded")

    return start_site(factory=never, uploads_per_minute=0)
