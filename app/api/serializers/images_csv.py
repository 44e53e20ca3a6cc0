"""Ranked images as CSV (RFC 4180) that is safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Sequence

from app.formatting import safe_link
from app.state import OpenIndex
from app.urls import Urls
from scopeview.store.records import TopImage

CSV = "text/csv"
COLUMNS = ("rank", "image_id", "key", "activation", "position", "caption", "source_url", "url")

# What spreadsheets take as the start of a formula, full-width forms among them; a tab or a line's end at the
# front is passed over by some, and what follows is then run.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def images_csv(index: OpenIndex, images: Sequence[TopImage], urls: Urls) -> str:
    """A header line and a line an image. Numbers are exact; what is absent is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for top in images:
        words = (
            cell(top.caption),
            cell(safe_link(top.source_url)),
            cell(urls.image(index.slug, top.image_id)),
        )
        position = "" if top.position is None else top.position
        writer.writerow((top.rank, top.image_id, cell(top.key), repr(top.activation), position, *words))
    return text.getvalue()


def cell(words: str | None) -> str:
    """Words as they are, behind an apostrophe where a spreadsheet would run them as a formula."""
    if words is None:
        return ""
    is_formula = words.lstrip(" \u00a0\ufeff").startswith(_FORMULA) or words.startswith(_FORMULA)
    return f"'{words}" if is_formula else words
