"""`open_index`: the contract that notebooks and scripts rely on."""

import base64
import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scopeview import open_index
from scopeview.errors import IndexFormatError, NotFoundError
from scopeview.index_api import Index
from scopeview.store.reader import IndexReader
from tests.app.index import FEW_IMAGES, HOSTILE_CAPTIONS, NEVER_FIRES, SmallIndex, write_index


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_index(tmp_path_factory.mktemp("indexes") / "tiny", random_weights=True)


@pytest.fixture(scope="module")
def index(small: SmallIndex) -> Iterator[Index]:
    with open_index(str(small.index_dir)) as index:
        yield index


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def images(self) -> list[bytes]:
        sources = [attributes["src"] or "" for tag, attributes in self.tags if tag == "img"]
        return [base64.b64decode(source.removeprefix("data:image/webp;base64,")) for source in sources]


def test_a_feature_is_the_readers_feature(index: Index, small: SmallIndex) -> None:
    with IndexReader(small.index_dir) as reader:
        expected = reader.feature(3, 0, "cls")
    found = index.feature(3, 0, token="cls")
    assert found.top_images == expected.top_images
    assert {name: getattr(found, name) for name in vars(expected)} == vars(expected)


def test_a_token_may_be_a_number(index: Index) -> None:
    assert index.feature(1, 0, token=137) == index.feature(1, 0, token="137")
    assert index.feature(1, 0, token=0) == index.feature(1, 0) == index.feature("1", 0, token="cls")


def test_a_notebook_shows_the_grid_itself(index: Index) -> None:
    feature = index.feature(3, 0)
    shown = Tags(feature._repr_html_())
    assert shown.images == [index.grid(index.slot(3, "cls"), 0)]
    assert shown.text == (
        f"tiny · layer 3 · cls · feature 0: fires on {feature.n_active} of 64 images, at most "
        f"{feature.max_activation:.4g}, {feature.mean_activation:.4g} on average; random weights"
    )


def test_a_feature_without_a_grid_shows_the_images_it_has(index: Index) -> None:
    feature = index.feature(3, FEW_IMAGES)
    assert feature.n_active == 3
    shown = Tags(feature._repr_html_())
    assert shown.images == [index.thumb(top.image_id) for top in feature.top_images]


def test_a_feature_that_never_fires_shows_its_facts_alone(index: Index) -> None:
    shown = Tags(index.feature(3, NEVER_FIRES)._repr_html_())
    assert shown.images == []
    assert shown.text.startswith("tiny · layer 3 · cls · feature 7: fires on 0 of 64 images")


def test_captions_are_words_and_never_markup(index: Index) -> None:
    seen = ""
    for feature in range(96):
        shown = Tags(index.feature(3, feature)._repr_html_())
        assert {tag for tag, _ in shown.tags} <= {"figure", "img", "figcaption"}
        for tag, attributes in shown.tags:
            assert tag != "img" or set(attributes) == {"src", "alt", "title"}
            seen += attributes.get("alt") or ""
    assert HOSTILE_CAPTIONS[0] in seen
    assert HOSTILE_CAPTIONS[1] in seen
    assert "long " * 100 not in seen


def test_images_are_in_the_page_and_nothing_is_fetched(index: Index) -> None:
    shown = index.feature(3, 0)._repr_html_()
    assert not re.search(r"(src|href)=.(?!data:)", html.unescape(shown.split("alt=")[0]))


def test_an_index_says_what_it_holds(index: Index) -> None:
    assert repr(index) == (
        "<Index tiny: 64 images; slots 1-cls, 1-137, 1-any, 3-cls, 3-137, 3-any, embed-cls>"
    )
    assert "index=" not in repr(index.feature(3, 0))


def test_what_the_index_does_not_hold_is_not_found(index: Index) -> None:
    with pytest.raises(NotFoundError, match="layer 3 has no token '9'; it has cls, 137, any"):
        index.feature(3, 0, token=9)


def test_a_path_may_begin_at_home(small: SmallIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(small.index_dir.parent))
    with open_index("~/tiny") as index:
        assert index.manifest.slug == "tiny"


@pytest.mark.parametrize("place", ["nowhere", "empty", "file", "torn"])
def test_a_place_without_an_index_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "manifest.json").write_text("{")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(IndexFormatError, match=place):
        open_index(tmp_path / place)


def test_opening_an_index_loads_no_torch(small: SmallIndex) -> None:
    program = (
        "import sys; from scopeview import open_index; index = open_index(sys.argv[1]);"
        " index.feature(3, 0)._repr_html_(); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(small.index_dir)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert found.stdout == "False\n"


@pytest.mark.parametrize("token", ["cls", "any"])
def test_the_features_of_a_slot_are_a_table(index: Index, small: SmallIndex, token: str) -> None:
    table = index.features(3, token)
    dense = small.dense[index.slot(3, token)]
    assert table.column("feature").to_pylist() == list(range(96))
    assert table.column("n_active").to_pylist() == (dense > 0).sum(axis=0).tolist()
    for row in table.slice(5, 5).to_pylist():
        feature = index.feature(3, row["feature"], token)
        for name in ("n_active", "density", "max_activation", "mean_activation"):
            assert row[name] == getattr(feature, name)


def test_what_was_not_found_out_is_missing_in_the_table(index: Index) -> None:
    columns = ["name", "name_score", "clarity", "label_entropy", "selectivity", "x", "y"]
    assert index.features(3).column_names[5:] == columns
    assert index.features(3).column("max_activation")[NEVER_FIRES].as_py() is None


def test_all_images_of_a_feature_are_a_table_by_rank(index: Index) -> None:
    rows = index.firing(1, 0, token="any").to_pylist()
    ranked = index.activating_images(index.slot(1, "any"), 0, limit=100)
    names = ("rank", "image_id", "key", "activation", "position", "caption")
    assert [tuple(row[name] for name in names) for row in rows] == [
        tuple(getattr(top, name) for name in names) for top in ranked
    ]
    assert index.firing(1, NEVER_FIRES).num_rows == 0
    with pytest.raises(NotFoundError):
        index.firing(1, 96)


def test_the_images_are_a_table(index: Index, small: SmallIndex) -> None:
    table = index.image_table()
    assert table.column("image_id").to_pylist() == list(range(64))
    assert table.column("caption").to_pylist() == small.captions
