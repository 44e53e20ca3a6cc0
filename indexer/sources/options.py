"""How a source is read, where its own names and layout do not say it."""

from dataclasses import dataclass

from indexer.sources.sample import Kind


@dataclass(frozen=True)
class SourceOptions:
    """The options of `scopeview index` that shape reading."""

    kind: Kind | None = None
    """None: told from what lies there."""
    follow_links: bool = False
    """Also links that lead out of the source's folder."""
    image_key: str | None = None
    """The column, or what follows the key in a tar (`jpg`, `input.jpg`), that is the image."""
    caption_key: str | None = None
    """The column, JSON field or file suffix that is the caption, and no other."""
    label_key: str | None = None
    """Likewise the label; `folder`: the name of the folder that an image lies in."""
