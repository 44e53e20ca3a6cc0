"""Valid slugs: the first segment of an index's URLs; some are reserved for the site's own pages."""

import re

from scopeview.errors import InputError

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
RESERVED = frozenset(
    {
        "api",
        "docs",
        "favicon.ico",
        "glossary",
        "healthz",
        "indexes",
        "metrics",
        "openapi.json",
        "patterns",
        "readyz",
        "robots.txt",
        "search",
        "static",
    }
)


def check_slug(slug: str) -> str:
    """Returns the slug itself. Raises `InputError` if it cannot be used in a URL."""
    if slug in RESERVED or not _SLUG.fullmatch(slug):
        raise InputError(
            f"slug {slug!r} cannot stand in a URL: use 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with"
            f" a letter or digit, and none of {', '.join(sorted(RESERVED))}; choose one with --slug"
        )
    return slug
