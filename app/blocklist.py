"""The operator's block-list: pictures that are not to be shown, named by sha256, URL or domain, one a line.

The file is read again whenever it changes, so that a picture is gone with the next request. Knows nothing of
indexes: which of their images a rule means is `guarded`'s to find out.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from scopeview.errors import InputError

log = logging.getLogger("scopeview.blocklist")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.[a-z0-9-]{2,}")
ACCEPTED = "a line is a sha256 (64 hex digits), an http(s) URL, a domain, or a comment after '#'"


@dataclass(frozen=True)
class Rules:
    """What is blocked, all in lower case; `unread` are the lines that are none of the three."""

    sha256s: frozenset[str] = frozenset()  # of the original file
    urls: frozenset[str] = frozenset()  # each as http and as https
    domains: frozenset[str] = frozenset()  # with everything below them
    unread: tuple[str, ...] = ()  # `line 3: what it says`

    @cached_property
    def digest(self) -> str:
        """Changes with what is blocked; empty while nothing is."""
        lines = sorted([*self.sha256s, *self.urls, *self.domains])
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8] if lines else ""

    def blocks_host(self, host: str) -> bool:
        """Is it one of the domains, or below one? `host` in lower case."""
        parts = host.split(".")
        return any(".".join(parts[at:]) in self.domains for at in range(len(parts)))


def parse_rules(text: str) -> Rules:
    """Never raises: what cannot be read is named, and the rest holds."""
    sha256s, urls, domains, unread = set[str](), set[str](), set[str](), list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        rule = re.sub(r"(^|\s)#.*", "", line).strip().lower()
        if _SHA256.fullmatch(rule):
            sha256s.add(rule)
        elif variants := _url_variants(rule):
            urls.update(variants)
        elif _DOMAIN.fullmatch(rule):
            domains.add(rule)
        elif rule:
            unread.append(f"line {number}: {line.strip()[:80]}")
    return Rules(frozenset(sha256s), frozenset(urls), frozenset(domains), tuple(unread))


def _url_variants(rule: str) -> list[str]:
    """A picture is the same behind http and https; the part after `#` never reaches a server."""
    try:
        parts = urlsplit(rule)
    except ValueError:
        return []
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return []
    rest = rule.partition("://")[2].partition("#")[0]
    return [f"http://{rest}", f"https://{rest}"]


class BlockList:
    """The rules as the file has them at this moment. Call from any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """None: nothing is blocked. Raises `InputError` for a file that cannot be read whole."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._rules = Rules()
        if path is not None:
            self._read_first(path)

    def rules(self) -> Rules:
        """A look at the file's time and size each call, microseconds; its content only when they changed.

        A file that is gone, or in part unreadable, is in the log: what was blocked stays blocked.
        """
        if self._path is None:
            return self._rules
        try:
            seen = _signature(self._path)
        except OSError as error:
            self._complain(error)
            return self._rules
        if seen != self._seen:
            with self._lock:
                if seen != self._seen:
                    self._read_again(self._path, seen)
        return self._rules

    def _read_first(self, path: Path) -> None:
        try:
            seen = _signature(path)
            rules = parse_rules(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the block-list {path} cannot be read: {error}") from None
        if rules.unread:
            raise InputError(f"the block-list {path} cannot be read, {_listed(rules.unread)}; {ACCEPTED}")
        self._rules, self._seen = rules, seen

    def _read_again(self, path: Path, seen: tuple[int, ...]) -> None:
        try:
            rules = parse_rules(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            self._complain(error)
            return
        if rules.unread:
            log.error("the block-list %s: %s; %s", path, _listed(rules.unread), ACCEPTED)
        self._rules, self._seen = rules, seen

    def _complain(self, error: Exception) -> None:
        log.error("the block-list %s cannot be read (%s): what was blocked stays blocked", self._path, error)


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _listed(lines: Iterable[str]) -> str:
    return "; ".join(lines)
