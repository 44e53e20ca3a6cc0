import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.sources.metadata import Metadata, from_columns, from_files


def test_names_are_matched_without_case_and_the_english_text_wins() -> None:
    laion = {
        "URL": "http://a.org/x",
        "TEXT": "Der Anfang",
        "ENG TEXT": "The beginning",
        "PUNSAFE": 0.1,
        "pWatermark": "0.5",
    }
    assert from_columns(laion) == Metadata("The beginning", "http://a.org/x", None, 0.1, 0.5)
    assert from_columns({"eng_text": " ", "Text": "Der Anfang"}).caption == "Der Anfang"


def test_the_text_file_comes_before_the_columns() -> None:
    assert from_columns({"caption": "column"}, txt="file").caption == "file"
    assert from_columns({"caption": "column"}, txt="  ").caption == "column"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//a.org",
        "https://",
        "/x",
        "https://a.org/a b",
        "http://[",
        5,
        None,
        "file:///x",
    ],
)
def test_only_web_addresses_are_source_urls(url: object) -> None:
    assert from_columns({"url": url}).source_url is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, True, "x", [], 10**400])
def test_a_score_that_is_no_finite_number_is_unknown(value: object) -> None:
    assert from_columns({"punsafe": value}).punsafe is None


def test_labels_prefer_the_wordnet_id() -> None:
    assert from_columns({"cls": 4, "label": "dog", "wnid": "n02"}).label == "n02"
    assert from_columns({"label": 0}).label == "0"
    assert from_columns({}, cls="12\n").label == "12"


def test_a_hostile_caption_is_kept_as_it_is() -> None:
    text = "<script>alert(1)</script> {{ 7 * 7 }} '; DROP TABLE images; --"
    assert from_columns({"caption": text}).caption == text


def test_a_caption_that_is_no_text_is_none() -> None:
    assert from_columns({"caption": ["a", "b"]}).caption is None


@given(
    st.dictionaries(
        st.sampled_from(["TEXT", "url", "wnid", "punsafe", "x"]), st.from_type(object) | st.text()
    )
)
def test_any_column_gives_texts_that_can_be_stored(columns: dict[str, object]) -> None:
    for text in from_columns(columns)[:3]:
        assert text is None or isinstance(text, str)
        (str(text) if text is not None else "").encode()


def test_lone_surrogates_become_replacement_characters() -> None:
    assert from_files(rb'{"caption": "a\ud800b"}', None).caption == "a\ufffdb"


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_no_file_content_raises(json_bytes: bytes, txt: bytes) -> None:
    from_files(json_bytes, txt)
