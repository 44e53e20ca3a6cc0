"""Cache-Control headers, ETags and versioned responses."""

from starlette.requests import Request
from starlette.responses import Response

FOR_EVERYONE = "public, no-cache"
"""Keep it, and ask each time whether it has changed."""
FOR_GOOD = "public, max-age=31536000, immutable"
PRIVATE = {"Cache-Control": "private, no-store"}
VERSION = "v"
"""The query parameter that holds the version of the content at a URL."""


def etag_matches(if_none_match: str, etag: str) -> bool:
    """True if the header names this ETag (`"..."`), even as a weak one, or any ETag."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def versioned_response(
    request: Request, content: bytes, media_type: str, version: str, etag: str, encoding: str | None = None
) -> Response:
    """Returns the content, kept for good only under the URL of this version; else browsers ask each time.

    `encoding` is how the content is compressed already; the browser has said that it accepts that.
    """
    is_versioned = request.query_params.get(VERSION) == version
    headers = {"ETag": f'"{etag}"', "Cache-Control": FOR_GOOD if is_versioned else FOR_EVERYONE}
    if etag_matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(content, media_type=media_type, headers=headers)
