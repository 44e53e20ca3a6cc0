"""The API keeps to its own description: whatever it allows to ask, no crash, no status or field unsaid."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from app.main import ROUTERS, create_app
from app.settings import Settings
from tests.app.conftest import decoded_here
from tests.app.encoder import FakeEncoder, factory_of
from tests.app.index import LAYERS, N_FEATURES, N_IMAGES, TOKENS, SmallIndex
from tests.app.sample_images import API, form, sample_image
from tests.app.tower import FakeTower, tower_factory

N_EXAMPLES = 10
CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ASKED = ("method", "url", "params", "headers")


def read_operations() -> list[str]:
    """The paths of the API that GET reads."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return [route.path for route in routes if route.include_in_schema and "GET" in (route.methods or ())]


@pytest.fixture(scope="module")
def site(small_index: SmallIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One for all: it does not count how much the model works for a client."""
    settings = Settings(
        index_dirs=[small_index.index_dir],
        upload_dir=tmp_path_factory.mktemp("uploads"),
        model_seconds_per_minute=10_000,
    )
    app = create_app(
        settings,
        encoder_factory=factory_of(FakeEncoder()),
        text_factory=tower_factory(FakeTower()),
        decoder=decoded_here,
    )
    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def known(site: TestClient) -> BaseSchema:
    """The site's description, with ids in paths that exist: random ones are 404 almost always."""
    upload_id = site.post(API, files=form(sample_image("PNG", (400, 300)))).json()["upload_id"]
    document = known_only(site.get("/api/v1/openapi.json").json(), upload_id)
    return schemathesis.openapi.from_dict(document)


def known_only(document: dict[str, Any], upload_id: str) -> dict[str, Any]:
    known: dict[str, list[Any]] = {
        "index": ["tiny"],
        "layer": [str(layer) for layer in LAYERS],
        "feature": list(range(N_FEATURES)),
        "image_id": list(range(N_IMAGES)),
        "upload_id": [upload_id],
        "token": TOKENS,
    }
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        for parameter in operation.get("parameters", []):
            if parameter["name"] in known:
                parameter["schema"] = {"enum": known[parameter["name"]]}
    return document


@pytest.mark.parametrize("path", read_operations())
def test_what_the_description_allows_is_answered_as_it_says(
    path: str, site: TestClient, known: BaseSchema
) -> None:
    operation = known[path]["GET"]

    @hypothesis_settings(
        max_examples=N_EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def ask(case: Case[Any]) -> None:
        keeps_to_its_description(site, case)

    ask()


def keeps_to_its_description(site: TestClient, case: Case[Any]) -> None:
    asked = case.as_transport_kwargs(base_url="http://testserver")
    answer = site.request(**{name: value for name, value in asked.items() if name in ASKED})
    assert answer.status_code < 500
    case.validate_response(answer, checks=CHECKS)
