"""Prometheus counters, in a registry of the app's own. Labels are route templates, never paths."""

import logging
import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scopeview.errors import DamagedError

log = logging.getLogger("scopeview.damage")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The counters and gauges."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time, open files
        self.requests = Counter(
            "scopeview_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "scopeview_request_seconds",
            "Time until the answer's headers",
            ["route"],
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self.uploads = Counter("scopeview_uploads", "Uploads by outcome", ["outcome"], registry=self.registry)
        self.damaged = Counter(
            "scopeview_damaged_reads",
            "Reads of an index that found a damaged file or blob",
            registry=self.registry,
        )
        self.queue = Gauge("scopeview_upload_queue", "Uploads in progress", registry=self.registry)
        self.swept_s = Gauge(
            "scopeview_sweep_timestamp_seconds",
            "When uploads were last swept without a failure, since 1970",
            registry=self.registry,
        )
        self.sweep_failures = Counter(
            "scopeview_sweep_failures", "Files of uploads that could not be swept", registry=self.registry
        )

    def note_sweep(self, n_failed: int) -> None:
        self.sweep_failures.inc(n_failed)
        if not n_failed:
            self.swept_s.set_to_current_time()

    def note_damage(self, error: DamagedError) -> None:
        """Counts the damage, and writes a line to the log that names the file."""
        log.error("%s", error)
        self.damaged.inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)


class MetricsMiddleware:
    """Counts each request once its status is known."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], time.perf_counter() - started)
            await send(message)

        try:
            await self.app(scope, receive, counting)
        except Exception:
            self._count(scope, 500, time.perf_counter() - started)
            raise

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(route, method, status).inc()
        self.metrics.latency.labels(route).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})
