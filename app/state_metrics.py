"""What of a running server is measured when `/metrics` is asked for: queue, encoders, uploads, disk."""

import shutil
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.state import AppState


class SiteCollector(Collector):
    """Reads counters that others keep; nothing here waits for a disk or a device for long."""

    def __init__(self, site: AppState) -> None:
        self._site = site

    def describe(self) -> list[Metric]:
        """None: the registry need not collect to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        site = self._site
        yield _gauge("worker_waiting", "Jobs that wait for the model", site.worker.n_waiting)
        yield self._encoders()
        yield _gauge("uploads_kept", "Stored uploads", site.uploads.n_kept)
        writable = site.uploads.why_unwritable() is None
        yield _gauge("uploads_writable", "1 where uploads can be written to the disk, else 0", int(writable))
        free = shutil.disk_usage(site.uploads.folder).free
        yield _gauge("uploads_disk_free_bytes", "Room on the disk of the uploads", free)

    def _encoders(self) -> Metric:
        loaded = GaugeMetricFamily(
            "scopeview_encoder_loaded", "1 where the model of an index is loaded, else 0", labels=["index"]
        )
        for slug, index in self._site.indexes.items():
            loaded.add_metric([slug], int(self._site.worker.is_loaded(index.reader.index_dir)))
        return loaded


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"scopeview_{name}", words, value=value)
