"""What is typed into the box: numbers as pages write them and as people do, and everything else is words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formatting import layer_name
from app.params.query_text import FeatureRef, feature_ref_in


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("31415", FeatureRef(None, 31415)),
        ("#7", FeatureRef(None, 7)),
        ("22:31415", FeatureRef(22, 31415)),
        ("L22 · 31415", FeatureRef(22, 31415)),
        ("l22/31415", FeatureRef(22, 31415)),
        (" 22 : 5 ", FeatureRef(22, 5)),
        ("L 22, 5", FeatureRef(22, 5)),
        ("embed · 5", FeatureRef("embed", 5)),
        ("EMBED:5", FeatureRef("embed", 5)),
        ("0:0", FeatureRef(0, 0)),
    ],
)
def test_a_number_is_a_feature(text: str, place: FeatureRef) -> None:
    assert feature_ref_in(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "heart",
        "2 hearts",
        "red 5",
        "5:",
        ":5",
        "5:5:5",
        "-5",
        "1_0",
        "+5",
        "007",
        "5e3",
        "٥",
        "9" * 20,
        "22 5",
    ],
)
def test_everything_else_is_words(text: str) -> None:
    assert feature_ref_in(text) is None


@given(st.integers(0, 2**31 - 1), st.one_of(st.integers(0, 99), st.just("embed")))
def test_what_pages_write_is_read(feature: int, layer: object) -> None:
    assert layer == "embed" or isinstance(layer, int)
    assert feature_ref_in(f"{layer_name(layer)} · {feature}") == FeatureRef(layer, feature)


@given(st.text(max_size=50))
def test_no_text_breaks_it(text: str) -> None:
    feature_ref_in(text)
