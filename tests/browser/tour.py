"""The page tour: an address of every kind of page, whatever index it is walked on.

`test_demo_pages` looks at each page and `test_controls` uses all that can be pressed on it. `unvisited`
compares the tour with the routes, so that a page without these tests fails them.
"""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match

NOT_THERE = {"problem-404", "problem-422"}
NO_PAGES = {"index_preview", "feature_preview", "upload_image", "random", "docs", "openapi_json"}
"""Routes beside the pages that answer with an image, or lead on."""


@dataclass(frozen=True)
class Place:
    """The parts of an index that the tour visits."""

    slug: str
    layer: int  # one with neighbors on both sides
    feature: int  # of that layer: it fires, and so do its neighbors
    upload: str = ""  # address of an upload; empty: its pages are left out


def tour(at: Place) -> dict[str, str]:
    """Every kind of page, by the name of its screenshot."""
    site, layer, feature = f"/{at.slug}", at.layer, at.feature
    return {
        "home": "/",
        "index": site,
        "gallery": f"{site}/{layer}?sort=density",
        "gallery-scatter": f"{site}/{layer}?plot=1",
        "map": f"{site}/{layer}/map?token=any",
        "gallery-any": f"{site}/{layer}?token=any&min_images=1",
        "feature": f"{site}/{layer}/{feature}?token=cls",
        "feature-near": f"{site}/{layer}/{feature}?token=cls&near=1",
        "feature-any": f"{site}/{layer}/{feature}?token=any",
        "feature-on-image": f"{site}/{layer}/{feature}?token=any&image=7",
        "feature-embedded": f"{site}/{layer}/{feature}?token=any&embed=1",
        "image": f"{site}/images/7",
        "image-one-layer": f"{site}/images/7?layer={layer}&token=any",
        "activations": f"{site}/images/7/activations",
        "activations-chosen": f"{site}/images/7/activations?layer={layer}&tokens=137&feature={feature}",
        "groups": f"{site}/images/7/groups?group=1",
        "layers": f"{site}/images/7/layers",
        "steering": f"{site}/images/7/steering",
        "steering-edited": f"{site}/images/7/steering?layer={layer}&edit={feature}:0",
        "similar": f"{site}/images/7/similar",
        "compare-images": f"{site}/images/7/compare?with=6",
        "upload": f"{site}/uploads",
        **_upload_pages(at.upload),
        "search": f"{site}/search",
        "search-anywhere": "/search?q=heart",
        "search-words": f"{site}/search?q=red+heart",
        "search-image": f"{site}/search?image=7",
        "compare": f"{site}/compare?features={layer}:{feature},{layer}:{feature}:any&note=a+note",
        "report": f"{site}/images/7/report",
        "patterns": "/patterns",
        "api": "/api",
        "glossary": "/glossary",
        "problem-404": f"{site}/99",
        "problem-422": f"{site}/{layer}?sort=best",
    }


def _upload_pages(upload: str) -> dict[str, str]:
    if not upload:
        return {}
    return {
        "upload-result": upload,
        "upload-activations": f"{upload}/activations",
        "upload-delete": f"{upload}/delete",
        "upload-report": f"{upload}/report",
    }


def unvisited(app: FastAPI, addresses: dict[str, str]) -> set[str]:
    """Names of the routes of pages to which no address of a tour leads."""
    routes = [route for route in app.routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())]
    pages = {route.name for route in routes if route.endpoint.__module__.startswith("app.pages.")}
    there = [url for name, url in addresses.items() if name not in NOT_THERE]
    return pages - NO_PAGES - {_route_of(routes, url.partition("?")[0]) for url in there}


def _route_of(routes: list[APIRoute], path: str) -> str:
    """The first one that matches answers."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    return next(route.name for route in routes if route.matches(scope)[0] is Match.FULL)
