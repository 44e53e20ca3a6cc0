"""Ctrl-C while DuckDB works: it stops the query with a `RuntimeError` of its own, which nobody looks for."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Turns DuckDB's word for an interrupt back into `KeyboardInterrupt`."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise
