"""A feature on its page and in its JSON is the same: 200 pages are compared, figure by figure."""

import random
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.formatting import count, percent, significant
from app.pages.feature.images import IMAGES_PER_PAGE
from scopeview.slots import Slot, slots_of
from tests.app.descriptions import describe
from tests.app.index import LAYERS, N_FEATURES, TOKENS, SmallIndex
from tests.app.tree import Node, tree

Twin = dict[str, Any]
KINDS = ("decoder", "cofiring", "vector")
EVERYWHERE = [(slot, feature) for slot in slots_of(LAYERS, TOKENS) for feature in range(N_FEATURES)]


@pytest.mark.parametrize(("described", "n_pages"), [(True, 200), (False, 15)])
def test_every_figure_of_a_page_is_that_of_its_json(
    site: TestClient, small_index: SmallIndex, monkeypatch: pytest.MonkeyPatch, described: bool, n_pages: int
) -> None:
    if described:
        describe(monkeypatch, small_index)
    for slot, feature in random.Random(7).sample(EVERYWHERE, n_pages):
        assert_agree(site, slot, feature)


def assert_agree(site: TestClient, slot: Slot, feature: int) -> None:
    address = f"/tiny/{slot.layer}/{feature}?token={slot.token}"
    page, twin = tree(site.get(f"{address}&near=1").text), site.get(f"/api/v1{address}").json()
    if twin["n_active"] > len(twin["top_images"]):
        more = f"/api/v1/tiny/{slot.layer}/{feature}/images?token={slot.token}&limit={IMAGES_PER_PAGE}"
        twin["top_images"] = site.get(more).json()["images"]
    parts = expected_figures(twin)
    for element_id, expected in parts.items():
        shown = [each for part in page.all(element_id=element_id) for each in figures(part)]
        assert shown == expected, f"{element_id} of {address}"
    others = [each for part in page.all(element_id="nearest") for each in figures(part)]
    n_compared = sum(map(len, [*parts.values(), others]))
    assert len(page.all("data")) == n_compared, f"{address} shows a figure that was not compared"
    assert_words_agree(page, twin)


def figures(part: Node) -> list[float]:
    """Each exact value, after a look at what people read there."""
    found = [(float(node.attributes["value"]), node.text) for node in part.all("data")]
    for value, words in found:
        assert words in (significant(value), percent(value), count(int(value)))
    return [value for value, _ in found]


def expected_figures(twin: Twin) -> dict[str, list[float]]:
    """By the id of a part of the page: the figures of the twin that stand there, in order."""
    top, fires = twin["top_images"], bool(twin["n_active"])
    described = twin["description"] or {}
    about = [twin["density"], twin["max_activation"], twin["mean_activation"]]
    about += [described.get(key) for key in ("clarity", "label_entropy", "selectivity")]
    elsewhere = [each["n_active"] for each in twin["tokens"] if each["n_active"]]
    return {
        "title": [name["score"] for name in twin["names"]],
        "dead": [] if fires else [twin["n_images"], *elsewhere],
        "metrics": [*([twin["n_active"], twin["n_images"]] if fires else []), *known(about)],
        "histogram": histogram(twin),
        "positions": positions(twin),
        "tokens": tokens(twin),
        "images": [top[rank - 1]["activation"] for rank in order(twin)],
        "intervals": [value for each in twin["intervals"] for value in interval(each)],
        "neighbors": [value for each in near(twin, within=True) for value in card(each)],
        "across-layers": across_layers(twin),
        "provenance": [twin["n_images"]],
    }


def known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def histogram(twin: Twin) -> list[float]:
    edges, counts = twin["histogram"]["edges"], twin["histogram"]["counts"]
    rows = [value for row in zip(edges, edges[1:], counts, strict=False) for value in row]
    return [twin["max_activation"], *rows] if rows else []


def positions(twin: Twin) -> list[float]:
    if not twin["positions"]:
        return []
    counts = twin["positions"]["counts"]
    most = max(counts) if max(counts) > 1 else None
    return known([sum(counts), twin["positions"]["at_cls"], most])


def tokens(twin: Twin) -> list[float]:
    found = list[float]()
    for each in twin["tokens"] if len(twin["tokens"]) > 1 else []:
        is_compared = each["token"] != twin["token"] and each["n_compared"]
        found += [each["n_shared"], each["n_compared"]] if is_compared else []
        found += [each["n_active"], each["density"]]
    return found


def order(twin: Twin) -> list[int]:
    """Ranks as the page lists them: each with those folded into it behind it."""
    ranks = range(1, len(twin["top_images"]) + 1)
    return sorted(ranks, key=lambda rank: (head(rank, twin["folds"]), rank))


def head(rank: int, folds: list[int]) -> int:
    return rank if rank > len(folds) or folds[rank - 1] == rank else head(folds[rank - 1], folds)


def interval(each: Twin) -> list[float]:
    facts = [each["low"], each["high"], each["n_images"], each["of_firing"], each["of_all"]]
    return [*facts, *(image["activation"] for image in each["images"])]


def near(twin: Twin, *, within: bool) -> list[Twin]:
    found = [each for each in twin["neighbors"] if (each["layer"] == twin["layer"]) == within]
    return sorted(found, key=lambda each: (KINDS.index(each["kind"]), LAYERS.index(each["layer"])))


def card(each: Twin) -> list[float]:
    return known([each["density"], each["max_activation"], each["score"]])


def across_layers(twin: Twin) -> list[float]:
    seen, found = set[tuple[str, str]](), list[float]()
    for each in near(twin, within=False):
        cell = (each["kind"], str(each["layer"]))
        found += [each["score"]] if cell in seen else card(each)
        seen.add(cell)
    return found


def assert_words_agree(page: Node, twin: Twin) -> None:
    """Names, ranks, neighbors and where it comes from; what failed is told as a failure."""
    shown = [node.text.rpartition(" ")[0] for node in page.all(cls="name")]
    assert shown == [" ".join(name["word"].split()) for name in twin["names"]]
    failed = [node for node in page.all(cls="failed") if "not be computed" in node.text]
    assert len(failed) == len(twin["description"]["failed"] if twin["description"] else [])
    assert [int(node.text) for node in page.all(cls="rank")] == order(twin)
    links = [
        a.attributes["href"]
        for part in page.all(element_id="neighbors")
        for h in part.all("article")
        for a in h.one("h3").all("a")
    ]
    assert links == [each["url"] for each in near(twin, within=True)]
    steps = {
        node.attributes.get("rel", ""): node.text.strip("‹› ") for node in page.one(cls="steps").all("a")
    }
    for rel, key in (("prev", "previous"), ("next", "following")):
        assert steps.get(rel) == (None if twin[key] is None else str(twin[key]))
    for table in page.all(cls="patches"):
        assert [int(cell.text) for cell in table.all("td")] == twin["positions"]["counts"]
    words = page.one(element_id="provenance").text
    assert all(twin["provenance"][key] in words for key in ("model", "sae", "normalization", "dataset"))
