"""Layers and tokens: one spelling each, and what else is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.errors import InputError
from scopeview.slots import Slot, parse_layer, parse_number, parse_token, slots_of, token_number

NOT_NUMBERS = ["", " 1", "1 ", "+1", "-1", "01", "1_0", "1.0", "1e3", "0x1", "١", "²", "1\n", "9" * 13]


@given(st.integers(0, 10**12 - 1))
def test_a_number_is_spelt_as_python_prints_it(number: int) -> None:
    assert parse_number(str(number)) == parse_layer(str(number)) == number


@given(st.text())
def test_whatever_is_a_number_is_printed_the_same(text: str) -> None:
    number = parse_number(text)
    assert number is None or str(number) == text


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_another_spelling_of_a_number_is_none(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "Embed", "EMBED", "any", "cls"])
def test_a_layer_is_a_block_number_or_embed(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_layer(text)
    assert str(caught.value) == f"layer {text!r} is not a block number (0, 1, 2, ...) or 'embed'"


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "CLS", "Any", "embed", "cls "])
def test_a_token_is_cls_any_or_a_number(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_token(text)
    assert str(caught.value) == f"token {text!r} is not 'cls', 'any' or a token number (1, 2, ...)"


def test_a_negative_token_number_is_refused() -> None:
    with pytest.raises(InputError, match="'-1'"):
        parse_token(-1)


@pytest.mark.parametrize(
    ("given_as", "token", "number"),
    [
        ("cls", "cls", 0),
        ("0", "cls", 0),
        (0, "cls", 0),
        ("137", "137", 137),
        (137, "137", 137),
        ("any", "any", None),
    ],
)
def test_tokens_and_their_numbers(given_as: str | int, token: str, number: int | None) -> None:
    assert parse_token(given_as) == token
    assert token_number(token) == number


def test_embed_is_a_layer() -> None:
    assert parse_layer("embed") == "embed"


def test_slots_are_in_order_of_layer_and_then_of_token_and_the_embedding_has_cls_alone() -> None:
    assert slots_of([11, "embed", 2], iter(["any", "cls"])) == [
        Slot(11, "any"),
        Slot(11, "cls"),
        Slot("embed", "cls"),
        Slot(2, "any"),
        Slot(2, "cls"),
    ]


def test_the_embedding_has_its_slot_whatever_tokens_are_asked_for() -> None:
    assert slots_of(["embed"], []) == slots_of(["embed"], ["137"]) == [Slot("embed", "cls")]


def test_a_slot_in_file_names() -> None:
    assert [Slot(11, "cls").name, Slot("embed", "cls").name] == ["11-cls", "embed-cls"]
