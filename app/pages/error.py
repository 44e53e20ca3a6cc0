"""Error pages."""

from dataclasses import dataclass

from app.pages.layout import Frame, Link, frame_for
from app.pages.render import Page
from app.state import OpenIndex
from app.urls import URLS
from app.web.errors import Answer

HEADINGS = {
    400: "The request was interrupted",
    403: "Not allowed",
    404: "Page not found",
    405: "Method not allowed",
    408: "The request timed out",
    410: "No longer available",
    413: "Too large",
    415: "Not a supported image",
    422: "Invalid request",
    429: "Too many requests",
    503: "Temporarily unavailable",
    507: "The disk is full",
}


@dataclass(frozen=True)
class ProblemPage(Page):
    template = "problem.html"
    always = "notice"

    status: int
    heading: str
    detail: str  # what was wrong and what is accepted
    ways_on: list[Link]  # where to go from here


def problem_page(answer: Answer, index: OpenIndex | None) -> ProblemPage:
    """Builds the page; `index` is the one that the path names, if there is one of that name."""
    heading = HEADINGS.get(answer.status, "Something went wrong")
    home = Link("all indexes", URLS.home())
    if index is None:
        return ProblemPage(Frame(heading), answer.status, heading, answer.detail, [home])
    ways = [
        Link(f"overview of {index.slug}", URLS.index(index.slug)),
        Link("a random feature", URLS.random(index.slug)),
        Link("analyze an image", URLS.uploads(index.slug)),
        home,
    ]
    return ProblemPage(frame_for(index, heading), answer.status, heading, answer.detail, ways)
