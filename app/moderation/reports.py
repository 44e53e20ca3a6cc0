"""Visitors' reports of images, appended to one file, a JSON object a line.

Nothing about the reporter is kept. Each line holds the image's sha256, ready for the block-list. Anyone who
knows an upload's id can see it, and this file may be passed on, so it holds only the start of the id.
`limits` counts how often one visitor, and all together, may report (slowapi, which builds on it, binds routes
and answers errors in ways of its own).
"""

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.web.errors import ProblemError, disk_problems

MAX_WORDS = 1000
MAX_FILE_BYTES = 10 * 1024**2
N_ID_CHARACTERS = 8  # of an upload's 22: enough to find its files, and the rest cannot be guessed
REASONS = {
    "unsafe": "it is disturbing or sexual",
    "person": "it shows me, or someone who did not agree to it",
    "rights": "it is mine, or I represent its owner",
    "illegal": "it is illegal",
    "other": "something else",
}


@dataclass(frozen=True)
class VisitorReport:
    """One report of an indexed image, as in the file."""

    created: str  # UTC, ISO 8601
    index: str
    image_id: int
    key: str
    sha256: str  # of the original file
    source_url: str | None
    reason: str  # of REASONS
    words: str  # at most MAX_WORDS characters


@dataclass(frozen=True)
class UploadReport:
    """One report of an upload, as in the file."""

    created: str  # UTC, ISO 8601
    index: str
    upload: str  # `short_id`: its files are `upload_dir/{upload}*`
    sha256: str  # of the file that was sent; of the crop for uploads that did not note it
    crop_sha256: str  # of the pixels the model saw: blocks the image with other metadata as well
    reason: str  # of REASONS
    words: str  # at most MAX_WORDS characters


def short_id(upload_id: str) -> str:
    """Returns a name for the upload that helps only someone with access to the server's folder."""
    return upload_id[:N_ID_CHARACTERS]


class Reports:
    """The file of reports. Thread-safe."""

    def __init__(self, path: Path, *, a_minute: int = 5, an_hour: int = 300) -> None:
        """Allows at most `a_minute` reports a minute from one client, and `an_hour` an hour from all."""
        self._path = path
        self._of_one, self._of_all = RateLimitItemPerMinute(a_minute), RateLimitItemPerHour(an_hour)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._lock = threading.Lock()

    def refuse_too_many(self, client: str) -> None:
        """Counts this report. Raises a 429 if this client, or all clients together, report too often."""
        limits = ((self._of_one, client, "60"), (self._of_all, "all", "600"))
        for limit, who, retry_s in limits:
            if not self._limiter.hit(limit, "report", who):
                detail = "Too many reports in a short time. Try again later."
                raise ProblemError(429, "too_many_reports", detail, {"Retry-After": retry_s})

    def add(self, report: VisitorReport | UploadReport) -> None:
        """Appends a report. Raises a 507 or a 503 when the disk cannot be written to.

        Raises a 503 also when the file has reached its maximum size: then someone has to read it.
        """
        line = json.dumps(asdict(report), ensure_ascii=False) + "\n"
        with self._lock, disk_problems(self._path.parent):
            if self._path.exists() and self._path.stat().st_size > MAX_FILE_BYTES:
                detail = "This server cannot store more reports. Contact its operator in another way."
                raise ProblemError(503, "reports_full", detail)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
