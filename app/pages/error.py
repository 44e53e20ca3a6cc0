"""Errors as pages written for people."""

from dataclasses import dataclass

from app.pages.layout import Frame, Link, frame_for
from app.pages.render import Page
from app.state import OpenIndex
from app.urls import URLS
from app.web.errors import Answer

HEADINGS = {
    400: "That request broke off",
    403: "That is not allowed",
    404: "There is nothing at this address",
    405: "That does not work at this address",
    408: "That took too long to arrive",
    410: "This is gone",
    413: "That is too large",
    415: "That is not a picture we can read",
    422: "Something in this request does not fit",
    429: "That was a lot in a short time",
    503: "Not right now",
    507: "There is no room left",
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
    """`index` is the one the path names, when there is one of that name."""
    heading = HEADINGS.get(answer.status, "Something went wrong")
    home = Link("all indexes", URLS.home())
    if index is None:
        return ProblemPage(Frame(heading), answer.status, heading, answer.detail, [home])
    ways = [
        Link(f"overview of {index.slug}", URLS.index(index.slug)),
        Link("a random feature", URLS.random(index.slug)),
        Link("upload a picture", URLS.uploads(index.slug)),
        home,
    ]
    return ProblemPage(frame_for(index, heading), answer.status, heading, answer.detail, ways)
