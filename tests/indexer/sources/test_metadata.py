import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.sources.metadata import Metadata, Record, from_columns, from_files
from indexer.sources.options import SourceOptions
from indexer.sources.sample import Parts


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
    assert from_columns({"caption": {"a": "b"}}).caption is None
    assert from_columns({"caption": [1, {}, []]}).caption is None


def test_of_several_captions_the_first_is_taken() -> None:
    assert from_columns({"caption": [" ", "a", "b"]}).caption == "a"
    assert from_columns({"captions": ["a", "b"]}).caption == "a"
    assert from_columns({"caption": "caf\u00e9".encode()}).caption == "caf\u00e9"


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (3.0, "3"),
        ("3.0", "3"),
        (-1.0, "-1"),
        (2.5, "2.5"),
        (1e300, "1e+300"),
        ("v3.0", "v3.0"),
        ([1, "b"], "1, b"),
        ([], None),
        (float("nan"), None),
        (True, None),
    ],
)
def test_labels_that_are_numbers_or_several(value: object, label: str | None) -> None:
    assert from_columns({"label": value}).label == label


@pytest.mark.parametrize("name", ["fine_label", "class", "category", "Class_Name", "coarse_label"])
def test_other_names_of_labels_are_read(name: str) -> None:
    assert from_columns({name: "dog"}).label == "dog"
    assert from_columns({name: "dog", "label": "cat"}).label == "cat"


def test_an_option_names_the_one_place_to_look_at() -> None:
    columns = {"caption": "short", "long_caption": "long", "label": "cat", "breed": "siamese"}
    chosen = from_columns(
        columns, txt="file", options=SourceOptions(caption_key="Long Caption", label_key="breed")
    )
    assert (chosen.caption, chosen.label) == ("long", "siamese")
    assert from_columns(columns, txt="file", options=SourceOptions(caption_key="txt")).caption == "file"
    assert from_columns(columns, options=SourceOptions(caption_key="nowhere")).caption is None


def test_it_is_noted_where_each_part_was_found_and_what_was_left() -> None:
    record = Record()
    from_files(
        b'{"TEXT": "x", "wnid": "n1", "width": 5}', b"a caption", names=("json", "txt", "cls"), record=record
    )
    assert record.parts() == Parts((("caption", "txt"), ("label", "json wnid")), ("json TEXT", "json width"))


def test_a_thousand_names_of_one_sample_are_not_all_kept() -> None:
    record = Record()
    from_columns({f"{number}\n" * 100: 1 for number in range(1000)}, record=record)
    unused = record.parts().unused
    assert len(unused) <= 50
    assert all(name.isprintable() and len(name) < 130 for name in unused)


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
