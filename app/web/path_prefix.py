"""Serves the site at the root of its host or below a path such as `/scope`; redirects to canonical paths.

The prefix comes from `base_url` or `root_path`, or from the server when this app is mounted in another one.
Both paths that a reverse proxy stripped and paths that it passed on whole are understood.
"""

from collections.abc import Callable, Collection
from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.urls import PATH_PREFIX, moved_path


def route_path(scope: Scope) -> str:
    """Returns the path below the prefix, which routes match."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    return path.removeprefix(prefix) if path == prefix or path.startswith(f"{prefix}/") else path


class CanonicalPath:
    """Redirects to the one path of a page: `/demo/` to `/demo`, and an old path to its new one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope) if scope["type"] == "http" else ""
        # One slash at its begin: `//example.org/` must not lead to another host.
        plain = f"/{path.strip('/')}" if path.endswith("/") else path
        canonical = moved_path(plain) or plain
        if canonical in (path, "/") or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        url = f"{PATH_PREFIX.get()}{quote(canonical)}"
        query = scope["query_string"].decode("latin-1")
        await RedirectResponse(f"{url}?{query}" if query else url, 308)(scope, receive, send)


class PathPrefix:
    """Notes the prefix for `urls`, and puts it where ASGI wants it. Must be the outermost middleware."""

    def __init__(self, app: ASGIApp, prefix: str, first_words: Callable[[Scope], Collection[str]]) -> None:
        """`first_words` are the first segments of the site's own paths: see `_is_stripped`."""
        self.app = app
        self.prefix = prefix
        self.first_words = first_words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self.prefix and not scope.get("root_path"):
                self._place(scope)
            # Never reset: each request has a context of its own, and its errors are answered further out.
            PATH_PREFIX.set(self.prefix or scope.get("root_path", ""))
        await self.app(scope, receive, send)

    def _place(self, scope: Scope) -> None:
        """Changes the scope itself, since code further out answers unexpected errors."""
        if self._is_stripped(scope):
            scope["path"] = self.prefix + scope["path"]
        scope["root_path"] = self.prefix

    def _is_stripped(self, scope: Scope) -> bool:
        """True if a proxy stripped the prefix from the path.

        A path that begins with the prefix was passed on whole, unless the prefix begins with a word of the
        site's own, such as an index's name: then nobody can tell, and the proxy has to strip it.
        """
        path = scope["path"]
        is_whole = path == self.prefix or path.startswith(f"{self.prefix}/")
        return not is_whole or self.prefix.split("/")[1] in self.first_words(scope)
