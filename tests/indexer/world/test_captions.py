import pytest

from indexer.world.backgrounds import Background
from indexer.world.captions import caption_of
from indexer.world.draws import Draws
from indexer.world.things import Thing

SOMEWHERE = (0, 0, 10, 10)
PLAIN = Background("plain", "mint", ())


def captions(*things: Thing) -> set[str]:
    return {caption_of(things, PLAIN, Draws(0, number)) for number in range(60)}


def test_articles_and_plurals_are_english() -> None:
    assert all("an orange cat" in found for found in captions(Thing("cat", "orange", SOMEWHERE)))
    assert all(
        "two red butterflies" in found for found in captions(*[Thing("butterfly", "red", SOMEWHERE)] * 2)
    )
    assert all("three red fish" in found for found in captions(*[Thing("fish", "red", SOMEWHERE)] * 3))


@pytest.mark.parametrize(
    ("box", "relation"),
    [((20, 0, 30, 10), "left"), ((0, 20, 10, 30), "above"), ((5, 5, 15, 15), None)],
)
def test_relations_are_said_only_where_they_hold(
    box: tuple[int, int, int, int], relation: str | None
) -> None:
    found = captions(Thing("cat", "red", SOMEWHERE), Thing("house", "blue", box))
    said = {word for word in ("left", "right", "above", "below") if any(word in caption for caption in found)}
    assert said == ({relation} if relation else set())
