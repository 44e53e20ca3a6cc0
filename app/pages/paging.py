"""Page numbers of a list, with links to the previous and the next page. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from app.web.errors import unprocessable


@dataclass(frozen=True)
class Paging:
    """Position in a list of pages."""

    page: int  # from 1
    n_pages: int  # at least 1
    previous: str | None
    following: str | None


def paged(page: int, n_items: int, page_size: int, url: Callable[[int], str]) -> Paging:
    """Returns the position. Raises a 422 for a page past the last, naming the last."""
    n_pages = max(-(-n_items // page_size), 1)
    if page > n_pages:
        raise unprocessable("page", page, f"1 to {n_pages}")
    return Paging(
        page=page,
        n_pages=n_pages,
        previous=url(page - 1) if page > 1 else None,
        following=url(page + 1) if page < n_pages else None,
    )
