"""The operator's block-list: images by sha256, URL or domain, one a line.

The file is read again whenever it changes, so that a blocked image is gone with the next request. Knows
nothing of indexes: `moderation.reader` finds the images that a rule means.
"""

import logging
import threading
from pathlib import Path

from scopeview.blocklist import ACCEPTED, Rules, listed, parse_rules, read_rules

__all__ = ["BlockList", "Rules", "parse_rules"]

log = logging.getLogger("scopeview.blocklist")


class BlockList:
    """The current rules of the file. Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        """`path` None: nothing is blocked. Raises `InputError` for a file that cannot be read whole."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._rules = Rules()
        if path is not None:
            self._rules = read_rules(path)

    def rules(self) -> Rules:
        """Returns the rules; each call looks at the file's time and size, and reads it when they changed.

        The look takes microseconds. If the file is gone, is not text, or has a line that is no rule, this is
        logged, and what was blocked stays blocked until the file can be read whole; its good lines count.
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

    def _read_again(self, path: Path, seen: tuple[int, ...]) -> None:
        try:
            rules = parse_rules(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            self._complain(error)
            return
        if rules.unread:
            rules = _with_blocked(rules, self._rules)
            log.error(
                "the block-list %s: %s; %s; what was blocked stays blocked",
                path,
                listed(rules.unread),
                ACCEPTED,
            )
        self._rules, self._seen = rules, seen

    def _complain(self, error: Exception) -> None:
        log.error("the block-list %s cannot be read (%s): what was blocked stays blocked", self._path, error)


def _with_blocked(rules: Rules, blocked: Rules) -> Rules:
    """Returns `rules`, unread lines included, and everything that `blocked` blocks."""
    return Rules(
        rules.sha256s | blocked.sha256s,
        rules.urls | blocked.urls,
        rules.domains | blocked.domains,
        rules.unread,
    )


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
