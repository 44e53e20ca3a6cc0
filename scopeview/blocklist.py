"""The images that an operator blocks: by sha256, URL or domain, one per line of a file.

The same file is used while indexing (these images are left out) and while serving (they are withheld at
once).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from scopeview.errors import InputError

_SHA256 = re.compile(r"([0-9a-f]{64})( [ *].+)?")  # as `sha256sum` writes it, with the file's name
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.[a-z0-9-]{2,}")
ACCEPTED = "a line is a sha256 (64 hex digits), an http(s) URL, a domain, or a comment after '#'"


@dataclass(frozen=True)
class Rules:
    """The rules, in lower case; `unread` holds the lines that are no valid rule."""

    sha256s: frozenset[str] = frozenset()  # of the original file
    urls: frozenset[str] = frozenset()  # each as http and as https
    domains: frozenset[str] = frozenset()  # with everything below them
    unread: tuple[str, ...] = ()  # `line 3: what it says`

    @cached_property
    def digest(self) -> str:
        """A digest of the rules; empty if there are none."""
        lines = sorted([*self.sha256s, *self.urls, *self.domains])
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8] if lines else ""

    def blocking(self, sha256: str, source_url: str | None) -> str | None:
        """The rule that blocks this image, or None."""
        if sha256 in self.sha256s:
            return sha256
        if source_url is None:
            return None
        url = source_url.lower().partition("#")[0]
        host = _host(url)
        return url if url in self.urls else host if self.blocks_host(host) else None

    def blocks_host(self, host: str) -> bool:
        """True if the host, in lower case, is one of the domains or a subdomain of one."""
        parts = host.split(".")
        return any(".".join(parts[at:]) in self.domains for at in range(len(parts)))


def _host(url: str) -> str:
    """The host of a URL, without a final dot, which makes no difference; empty if there is none."""
    try:
        return (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return ""


def parse_rules(text: str) -> Rules:
    """Parses the rules of a file; keeps invalid lines in `unread`. Never raises."""
    sha256s, urls, domains, unread = set[str](), set[str](), set[str](), list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        rule = re.sub(r"(^|\s)#.*", "", line).strip().lower()
        if digest := _SHA256.fullmatch(rule):
            sha256s.add(digest[1])
        elif variants := _url_variants(rule):
            urls.update(variants)
        elif _DOMAIN.fullmatch(rule):
            domains.add(rule)
        elif rule:
            unread.append(f"line {number}: {line.strip()[:80]}")
    return Rules(frozenset(sha256s), frozenset(urls), frozenset(domains), tuple(unread))


def _url_variants(rule: str) -> list[str]:
    """The URL as http and as https, which show the same image; without `#...`, which servers never see."""
    try:
        parts = urlsplit(rule)
    except ValueError:
        return []
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return []
    rest = rule.partition("://")[2].partition("#")[0]
    return [f"http://{rest}", f"https://{rest}"]


def read_rules(path: Path) -> Rules:
    """Reads a file of rules. Raises `InputError` for a file with any line that cannot be read."""
    try:
        rules = parse_rules(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the block-list {path} cannot be read: {error}") from None
    if rules.unread:
        raise InputError(f"the block-list {path} cannot be read, {listed(rules.unread)}; {ACCEPTED}")
    return rules


def listed(lines: Iterable[str]) -> str:
    """Joins lines for a message."""
    return "; ".join(lines)
