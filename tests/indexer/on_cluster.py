"""`scopeview index`, several times, in a Ray cluster of two nodes: `python -m tests.indexer.on_cluster JSON`.

A process of its own, for a cluster asks the system which address it has, and tests connect to loopback only.
JSON: a list of `{"words": [...], "deadly": FILE, "always": BOOL}`; with a file, the first worker that reads
the second shard is killed, once, or every one that does; the file counts them. Prints the exit codes as JSON.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from indexer import on_ray, pipeline
from indexer.sources import BadSample, Sample, Shard, Source, SourceOptions, open_source
from scopeview.__main__ import main

_TRIES = 4
N_RETRIES = 1
"""Of a lost worker: each takes seconds to start."""


@dataclass(frozen=True)
class Deadly:
    """A shard that kills processes that read it, the first or all, but not the one that started it all."""

    shard: Shard
    flag: Path
    always: bool
    spared: int

    @property
    def name(self) -> str:
        return self.shard.name

    def fingerprint(self) -> str:
        return self.shard.fingerprint()

    def samples(self) -> Iterator[Sample | BadSample]:
        if os.getpid() != self.spared and (self.always or not self.flag.exists()):
            with self.flag.open("a") as flag:
                flag.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return self.shard.samples()


def with_deadly_shard(source: Path | str, flag: Path, always: bool, options: SourceOptions) -> Source:
    found = open_source(source, options=options)
    shards = list(found.shards)
    shards[1] = Deadly(shards[1], flag, always, os.getpid())
    return replace(found, shards=tuple(shards))


def scopeview(words: list[str], deadly: str | None = None, always: bool = False) -> int:
    """Its exit code."""
    opened = open_source if deadly is None else partial(with_deadly_shard, flag=Path(deadly), always=always)
    with patch.object(sys, "argv", ["scopeview", *words]), patch.object(pipeline, "open_source", opened):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def two_nodes() -> Any:
    """A cluster with room for one worker on each: two workers are on two nodes.

    Ray waits half a minute for a node, and not longer; on a busy machine one may come later.
    """
    from ray.cluster_utils import Cluster

    for left in reversed(range(_TRIES)):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1)
            cluster.add_node(num_cpus=1)
        except Exception:
            cluster.shutdown()  # type: ignore[no-untyped-call]
            if left == 0:
                raise
        else:
            return cluster
    raise AssertionError("the last try returns or raises")


def run(commands: list[dict[str, Any]]) -> None:
    import ray

    cluster = two_nodes()
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        assert len(ray.nodes()) == 2  # type: ignore[no-untyped-call]
        with patch.object(on_ray, "_RETRIES", N_RETRIES):
            print(json.dumps([scopeview(**command) for command in commands]))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    # By its name: workers import what is pickled here.
    from tests.indexer import on_cluster

    on_cluster.run(json.loads(sys.argv[1]))
