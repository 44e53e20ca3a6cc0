"""How the time of encode was spent, for the progress bar and for the table at its end."""

import json
import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from scopeview.progress import Task
from scopeview.timers import Stopwatch

DECODE_WAIT, WRITE_WAIT, DEVICE = "waiting for images", "waiting for the disk", "CLIP and SAEs"
_BESIDE = {
    "decode": "decoding and cropping, all workers together",
    "write": "writing, by the thread that does it",
}
_EVERY_S = 1.0


class Timing:
    """The timing of one encode run; `watch` is the encoder's, which separates CLIP from SAEs."""

    def __init__(self, watch: Stopwatch, host: Stopwatch) -> None:
        self.host = host
        self._watch, self._before = watch, watch.seconds()
        self._started = time.perf_counter()
        self._shown = self._started
        self._n_images = 0

    def tick(self, progress: Task, n_images: int) -> None:
        """Shows, at most once a second, how busy the device is and which stage waits for which."""
        self._n_images += n_images
        now = time.perf_counter()
        if now - self._shown < _EVERY_S:
            return
        self._shown = now
        spent, wall_s = self.host.seconds(), now - self._started
        names = {"device": DEVICE, "decode wait": DECODE_WAIT, "write wait": WRITE_WAIT}
        progress.show({name: f"{spent.get(key, 0) / wall_s:.0%}" for name, key in names.items()})

    def rows(self) -> dict[str, float]:
        """Seconds by activity; `decode` and `write` run in parallel with the others."""
        found = {name: at - self._before.get(name, 0) for name, at in self._watch.seconds().items()}
        host = self.host.seconds()
        for name in (DECODE_WAIT, WRITE_WAIT):
            found[name] = host.get(name, 0.0)
        wall_s = time.perf_counter() - self._started
        found["anything else"] = max(0.0, wall_s - sum(found.values()))
        return {**found, **{name: host[name] for name in _BESIDE if name in host}}

    def close(self) -> None:
        """Prints the table, or a JSON line if standard error is not a terminal."""
        if self._n_images == 0:
            return
        rows, wall_s = self.rows(), time.perf_counter() - self._started
        if sys.stderr.isatty():
            Console(stderr=True).print(_table(rows, wall_s, self._n_images))
            return
        seconds = {name: round(at, 2) for name, at in rows.items()}
        line = {"task": "encode", "wall_s": round(wall_s, 2), "images": self._n_images, "seconds": seconds}
        print(json.dumps(line), file=sys.stderr, flush=True)


def _table(rows: Mapping[str, float], wall_s: float, n_images: int) -> Table:
    table = Table("", "seconds", "share", "ms an image", title=f"Encode: {n_images:,} images, {wall_s:.1f} s")
    for name, seconds in rows.items():
        share = "beside" if name in _BESIDE else f"{seconds / wall_s:.0%}"
        table.add_row(_BESIDE.get(name, name), f"{seconds:.1f}", share, f"{1e3 * seconds / n_images:.2f}")
    return table
