"""`/api`: the operations of `/api/v1` on one page. `/docs` and `/openapi.json` redirect."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.requests import Request

from app.pages.layout import Frame
from app.pages.render import Page, render
from app.urls import URLS

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    parameters: list[tuple[str, str]]  # name and description
    statuses: list[tuple[str, str]]  # code and description


@dataclass(frozen=True)
class ApiPage(Page):
    template = "api.html"

    operations: list[Operation]
    openapi_url: str


@router.get("/api", name="api_help")
def api_help(request: Request) -> HTMLResponse:
    document = request.app.openapi()
    operations = [
        Operation(
            method=method.upper(),
            path=path,
            summary=found["summary"],
            parameters=[(each["name"], each.get("description", "")) for each in found.get("parameters", [])],
            statuses=[
                (code, each.get("description", "")) for code, each in sorted(found["responses"].items())
            ],
        )
        for path, methods in document["paths"].items()
        for method, found in methods.items()
    ]
    return render(request, ApiPage(Frame("API"), operations, URLS.openapi()))


@router.get("/docs", name="docs")
def docs() -> RedirectResponse:
    return RedirectResponse(URLS.api_help(), 308)


@router.get("/openapi.json", name="openapi_json")
def openapi_json() -> RedirectResponse:
    return RedirectResponse(URLS.openapi(), 308)
