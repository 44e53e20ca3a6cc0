"""Which images the rules of a block-list name."""

import pytest

from scopeview.blocklist import parse_rules

RULES = parse_rules("evil.example\nhttps://fine.example/bad.jpg\n")
NO_SHA256 = "0" * 64


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a.jpg",
        "https://EVIL.example:443/a.jpg",
        "http://cdn.evil.example/a.jpg",
        "http://evil.example./a.jpg",  # the same host: the dot says that the name is complete
    ],
)
def test_a_domain_is_the_same_host_however_it_is_written(url: str) -> None:
    assert RULES.blocking(NO_SHA256, url) is not None


@pytest.mark.parametrize("url", ["https://notevil.example/a.jpg", "http://fine.example/a.jpg"])
def test_another_host_or_another_image_is_not_blocked(url: str) -> None:
    assert RULES.blocking(NO_SHA256, url) is None


def test_an_address_that_none_can_read_falls_under_no_rule() -> None:
    assert RULES.blocking(NO_SHA256, "http://[evil.example/a.jpg") is None
