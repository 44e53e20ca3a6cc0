"""A figure as pages write it: words in a `<data>` element, and beside them the exact value, as JSON has it.

Written in Python and not as macros, since a page has hundreds of them.
"""

from markupsafe import Markup

from app import formatting


def number(value: float) -> Markup:
    """Three significant digits."""
    return _data(value, formatting.significant(value))


def density(ratio: float) -> Markup:
    """As a percentage."""
    return _data(ratio, formatting.percent(ratio))


def count(value: int) -> Markup:
    """Whole, with commas; exact as it is."""
    return Markup(f'<data value="{value}">{formatting.count(value)}</data>')


def _data(value: float, text: str) -> Markup:
    exact = formatting.exact(value)
    return Markup(f'<data value="{exact}" title="{exact}">{text}</data>')
