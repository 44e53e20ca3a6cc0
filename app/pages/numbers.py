"""Numbers as HTML: rounded for people, with the exact value in a `<data>` element.

Written in Python and not as macros, since a page has hundreds of them.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from markupsafe import Markup

from app import formatting


@runtime_checkable
class Bin(Protocol):
    """One bar of a histogram: low < activation <= high."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def count(self) -> int: ...
    @property
    def height(self) -> float:
        """The height, 0 to 1."""

    @property
    def step(self) -> int:
        """The step of the activation color map."""


def number(value: float) -> Markup:
    """Writes three significant digits."""
    return Markup(number_html(value))


def number_html(value: float) -> str:
    """Writes the same as a plain string, for code that builds HTML."""
    return _data(value, formatting.significant(value))


def density(ratio: float) -> Markup:
    """Writes a ratio as a percentage."""
    return Markup(density_html(ratio))


def density_html(ratio: float) -> str:
    return _data(ratio, formatting.percent(ratio))


def count(value: int) -> Markup:
    """Writes a whole number, exact, with commas."""
    return Markup(f'<data value="{value}">{formatting.count(value)}</data>')


def bars(bins: Sequence[Bin]) -> Markup:
    """Draws the bars of a histogram, ten units wide and at most a hundred high, each with a title."""
    return Markup("".join(_bar(10 * at, each) for at, each in enumerate(bins)))


def bin_rows(bins: Sequence[Bin]) -> Markup:
    """Writes the same bins as rows of a table: above, up to, images."""
    rows = ((number_html(each.low), number_html(each.high), count(each.count)) for each in bins)
    cells = ("".join(f'<td class="figure-col">{cell}</td>' for cell in row) for row in rows)
    return Markup("".join(f"<tr>{row}</tr>" for row in cells))


def _bar(x: int, each: Bin) -> str:
    low, high = formatting.significant(each.low), formatting.significant(each.high)
    return (
        f"<g><title>{formatting.count(each.count)} images over ({low}, {high}]</title>"
        f'<rect class="bin-track" x="{x}" y="0" width="10" height="100"/>'
        f'<rect class="heat-{each.step}" x="{x + 0.5}" y="{100 - 100 * each.height:.2f}" width="9"'
        f' height="{100 * each.height:.2f}"/></g>'
    )


def _data(value: float, text: str) -> str:
    exact = formatting.exact(value)
    return f'<data value="{exact}" title="{exact}">{text}</data>'
