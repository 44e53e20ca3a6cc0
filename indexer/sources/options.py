"""How a source is read, where its own names and layout do not say it."""

from dataclasses import dataclass

from indexer.sources.sample import Kind


@dataclass(frozen=True)
class SourceOptions:
    """What `scopeview index` was asked for, beyond the source itself."""

    kind: Kind | None = None
    """None: told from what lies there."""
    follow_links: bool = False
    """Also links that lead out of the source's folder."""
