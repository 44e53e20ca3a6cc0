"""Filters of features, the same for the gallery, the map and their JSON.

A filter left blank in a form counts as not set.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BeforeValidator

from app.params.dependencies import whole_number
from scopeview.store.records import MIN_GRID_IMAGES

MAX_NAME_LETTERS = 80


@dataclass(frozen=True)
class Filters:
    """Filters that must all hold; ranges include their ends. None lets everything pass."""

    min_images: int = MIN_GRID_IMAGES  # images on which the feature fires, at least
    max_images: int | None = None
    min_density: float | None = None  # the same as a part of all images, 0 to 1
    max_density: float | None = None
    min_clarity: float | None = None  # -1 to 1; a feature without one does not pass
    max_clarity: float | None = None
    name: str | None = None  # part of one of its names, in any case

    def query(self) -> dict[str, object]:
        """Returns the values for a URL: those that differ from the default, None for the rest."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**given, "min_images": None if self.min_images == MIN_GRID_IMAGES else self.min_images}

    def gallery_keywords(self) -> dict[str, Any]:
        """Returns the keywords for the reader's `gallery`."""
        return asdict(self)

    @property
    def has_more(self) -> bool:
        """True if any filter beside the minimum number of images and the name is set."""
        return replace(self, min_images=MIN_GRID_IMAGES, name=None) != Filters()

    @property
    def ask_for_descriptions(self) -> bool:
        """True if only an index with descriptions can meet them."""
        return (self.name, self.min_clarity, self.max_clarity) != (None, None, None)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _number(value: Any) -> int | None:
    return None if _blank(value) else whole_number(value)


def _between(value: Any, lowest: float, highest: float) -> float | None:
    if _blank(value):
        return None
    try:
        number = math.nan if "_" in str(value) else float(value)
    except ValueError:
        number = math.nan
    if not lowest <= number <= highest:
        raise ValueError(f"expected a number from {lowest:g} to {highest:g}")
    return number


def _density(value: Any) -> float | None:
    return _between(value, 0, 1)


def _clarity(value: Any) -> float | None:
    return _between(value, -1, 1)


def _name(value: Any) -> str | None:
    words = "" if _blank(value) else " ".join(str(value).split())
    if len(words) > MAX_NAME_LETTERS:
        raise ValueError(f"expected at most {MAX_NAME_LETTERS} letters")
    return words or None


Images = Annotated[int | None, BeforeValidator(_number)]
Density = Annotated[float | None, BeforeValidator(_density)]
Clarity = Annotated[float | None, BeforeValidator(_clarity)]
Name = Annotated[str | None, BeforeValidator(_name)]
NameQuery = Annotated[Name, Query(description="part of a feature name, case-insensitive")]


async def found_filters(
    min_images: Annotated[
        Images,
        Query(description=f"minimum number of images with activation; {MIN_GRID_IMAGES} when not given"),
    ] = None,
    max_images: Annotated[Images, Query(description="maximum number of images with activation")] = None,
    min_density: Annotated[Density, Query(description="minimum density, 0 to 1")] = None,
    max_density: Annotated[Density, Query(description="maximum density, 0 to 1")] = None,
    min_clarity: Annotated[Clarity, Query(description="minimum clarity, -1 to 1")] = None,
    max_clarity: Annotated[Clarity, Query(description="maximum clarity, -1 to 1")] = None,
    name: NameQuery = None,
) -> Filters:
    least = MIN_GRID_IMAGES if min_images is None else min_images
    return Filters(least, max_images, min_density, max_density, min_clarity, max_clarity, name)


FiltersDep = Annotated[Filters, Depends(found_filters)]
