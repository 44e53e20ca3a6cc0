"""Figures that may be missing or may have failed, told apart in one place for pages and JSON."""

import math

from scopeview.store.records import Description


def finite(value: float | None) -> float | None:
    """The value; None where there is none, or where its computation came to no number."""
    return value if value is not None and math.isfinite(value) else None


def description_figures(described: Description) -> dict[str, float | None]:
    """By the name each has in JSON. None: it does not apply. Infinite or NaN: its computation failed."""
    return {
        "clarity": described.clarity,
        "label_entropy": described.label_entropy,
        "selectivity": described.selectivity,
    }
