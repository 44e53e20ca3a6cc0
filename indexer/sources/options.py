"""How to read a source whose names and layout do not make it clear."""

from dataclasses import dataclass

from indexer.sources.sample import Kind


@dataclass(frozen=True)
class SourceOptions:
    """The options of `scopeview index` that affect reading."""

    kind: Kind | None = None
    """The kind of source; None: detected from its files."""
    follow_links: bool = False
    """Whether to follow links that lead out of the source's folder, too."""
    image_key: str | None = None
    """The image's column, or its suffix after the key in a tar (`jpg`, `input.jpg`)."""
    caption_key: str | None = None
    """The only column, JSON field or file suffix to take the caption from."""
    label_key: str | None = None
    """The same for the label; `folder` means the name of the image's folder."""
