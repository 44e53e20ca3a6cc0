"""Security headers, CORS, HEAD requests and the check against cross-site forms."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.urls import API
from app.web.errors import ProblemError
from app.web.path_prefix import route_path

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' blob:",  # blob: is the preview of an image that is about to be uploaded
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    ]
)
EMBEDDABLE = CONTENT_SECURITY_POLICY.replace("frame-ancestors 'self'", "frame-ancestors *")
"""The policy of views that other sites may frame: nothing in them changes anything here."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex, noai, noimageai",
}


class SecurityHeaders:
    """Adds `HEADERS` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, adding)


class ApiCors:
    """Lets pages of other sites read the JSON: GET and HEAD, without cookies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.open = CORSMiddleware(app, allow_origins=["*"], allow_methods=["GET", "HEAD"], max_age=86400)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = (
            scope["type"] == "http"
            and scope["method"] in ("GET", "HEAD", "OPTIONS")
            and route_path(scope).startswith(f"{API}/")
        )
        await (self.open if is_open else self.app)(scope, receive, send)


class HeadLikeGet:
    """HEAD works wherever GET does: the same headers, no body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, bodiless)


def allowed_methods(scope: Scope) -> str:
    """Returns the value of `Allow`: the methods of all routes at this address."""
    routes = [route for route in scope["app"].router.routes if route.matches(scope)[0] != Match.NONE]
    methods = {method for route in routes for method in route.methods}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def refuse_cross_site(headers: Headers, base_url: str) -> None:
    """Raises a 403 when a browser says that another site sends this. Scripts, which say nothing, may pass."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        ours = {headers.get("host", ""), urlsplit(base_url).netloc}
        foreign = origin is not None and (urlsplit(origin).netloc or "null") not in ours
    if foreign:
        raise ProblemError(
            403, "cross_site", "This request came from another site. Use the form on this site."
        )
