"""The access log, as text or as JSON, with request ids.

Anyone who knows an upload's id may see it, and anyone who knows its key may delete it, so neither is ever
written down. uvicorn's own access log would write them, so it is off.
"""

import json
import logging
import re
import time
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import LogFormat

log = logging.getLogger("scopeview.access")

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
HEADER = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UPLOAD = re.compile(r"(/uploads/)[^/.]+")
_SECRET = frozenset({"key", "upload"})
_HIDDEN = "-"


class AccessLog:
    """Writes a line for each request once it is answered. Keeps a proxy's `X-Request-ID` if it is plain."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _USABLE_ID.fullmatch(given) else uuid4().hex
        REQUEST_ID.set(request_id)  # never reset: errors that nobody expected are answered further out
        started, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            _write(scope, status, time.perf_counter() - started)


def _write(scope: Scope, status: int, seconds: float) -> None:
    client = scope.get("client")
    facts = {
        "client": client[0] if client else "",
        "method": scope["method"],
        "path": without_secrets(scope["path"], scope["query_string"].decode("latin-1")),
        "status": status,
        "duration_ms": round(1000 * seconds, 1),
    }
    line = '{client} "{method} {path}" {status} {duration_ms} ms'.format(**facts)
    log.info(line.encode("unicode_escape").decode("ascii"), extra={"facts": facts})


def without_secrets(path: str, query: str) -> str:
    """Returns the address without ids of uploads and keys. Pure."""
    shown = _UPLOAD.sub(rf"\1{_HIDDEN}", path)
    pairs = parse_qsl(query, keep_blank_values=True)
    if not pairs:
        return shown
    return f"{shown}?{urlencode([(name, _HIDDEN if name in _SECRET else value) for name, value in pairs])}"


class JsonLines(logging.Formatter):
    """A JSON object per line: time, level, logger, message, request_id, and `extra={"facts": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """`INFO scopeview.access [id] ...`"""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        request_id = REQUEST_ID.get()
        return f"{record.levelname} {record.name} {f'[{request_id}] ' if request_id else ''}{line}"


def log_config(log_format: LogFormat) -> dict[str, Any]:
    """Returns the configuration for `logging.config.dictConfig`: everything goes to stderr."""
    formatter = JsonLines if log_format == "json" else TextLines
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "loggers": {
            name: {"handlers": ["stderr"], "level": "INFO", "propagate": False}
            for name in ("scopeview", "uvicorn")
        },
    }
