"""Cache-Control headers, ETags and versioned responses."""

from starlette.requests import Request
from starlette.responses import Response

FOR_EVERYONE = "public, no-cache"
"""Keep it, and ask each time whether it is still the same."""
FOR_GOOD = "public, max-age=31536000, immutable"
PRIVATE = {"Cache-Control": "private, no-store"}
VERSION = "v"
"""The name in a query whose value is the version of what the address names."""


def etag_matches(if_none_match: str, etag: str) -> bool:
    """Does the header name this ETag (`"..."`), be it as a weak one, or any?"""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def versioned_response(
    request: Request, content: bytes, media_type: str, version: str, etag: str, encoding: str | None = None
) -> Response:
    """For good only under the URL that names this version; under any other the browser asks each time.

    `encoding` is what the content was compressed with already, where the browser said that it takes that.
    """
    is_versioned = request.query_params.get(VERSION) == version
    headers = {"ETag": f'"{etag}"', "Cache-Control": FOR_GOOD if is_versioned else FOR_EVERYONE}
    if etag_matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(content, media_type=media_type, headers=headers)
