"""Images as CSV: the same as their JSON, and nothing in it that a spreadsheet would run."""

import csv
import io

import pytest
from starlette.testclient import TestClient

from app.api.serializers.feature import COLUMNS, cell

ADDRESS = "/api/v1/tiny/1/0/images"


def test_the_table_holds_what_the_json_holds(site: TestClient) -> None:
    answer = site.get(f"{ADDRESS}.csv?token=any&limit=30")
    twin = site.get(f"{ADDRESS}?token=any&limit=30").json()["images"]
    header, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert tuple(header) == COLUMNS
    assert len(rows) == len(twin) == 30
    for row, image in zip(rows, twin, strict=True):
        words = ["" if image[name] is None else str(image[name]) for name in COLUMNS]
        assert [value.removeprefix("'") for value in row] == [value.removeprefix("'") for value in words]
        assert float(row[3]) == image["activation"]


def test_it_is_paged_and_named_as_a_file(site: TestClient) -> None:
    answer = site.get(f"{ADDRESS}.csv?limit=5&offset=5")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="tiny-1-cls-0-from-6.csv"'
    assert answer.headers["link"] == f'<{ADDRESS}.csv?token=cls&limit=5&offset=10>; rel="next"'
    assert answer.text.splitlines()[1].startswith("6,")
    assert "link" not in site.get(f"{ADDRESS}.csv").headers
    assert len(site.get("/api/v1/tiny/1/7/images.csv").text.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        '=HYPERLINK("https://example.org","x")',
        "+1",
        "-1+2",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "＝1",
    ],
)
def test_a_formula_is_made_plain_words(words: str) -> None:
    assert cell(words) == f"'{words}"


@pytest.mark.parametrize("words", ["a red heart", "1 + 1 = 2", "", "x@example.org", "مرحبا"])
def test_other_words_stay_as_they_are(words: str) -> None:
    assert cell(words) == words


def test_what_is_absent_is_empty() -> None:
    assert cell(None) == ""
