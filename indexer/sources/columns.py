"""Which columns of a Parquet file are the image, the key and the metadata, told from its schema alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from indexer.sources import metadata
from indexer.sources.options import SourceOptions

_IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image bytes", "images")
_KEY_COLUMNS = ("key", "__key__", "id")


class Columns(NamedTuple):
    """Column names, as the file spells them."""

    image: str
    key: str | None
    others: list[str]
    """The columns with metadata."""
    class_names: dict[str, list[str]]
    """The class names of integer labels, as Hugging Face `datasets` records them in the schema."""
    unused: list[str]

    def read(self) -> list[str]:
        return list(dict.fromkeys([self.image, *([self.key] if self.key else []), *self.others]))


def find_columns(schema: pa.Schema, options: SourceOptions) -> Columns | None:
    """Finds the columns to read; returns None if no column holds images.

    The image is the column that the options name, or else the first with a usual name, or else one that
    `datasets` declares as an image. It must be binary, a struct with a field `bytes`, or a list of these.
    """
    features = _features(schema)
    names = {metadata.column_name(name): name for name in reversed(schema.names)}
    noted = [name for name in schema.names if _kind(features.get(name)) == "Image"]
    usual = [names[name] for name in _IMAGE_COLUMNS if name in names]
    wanted = (
        [*usual, *noted]
        if options.image_key is None
        else [names.get(metadata.column_name(options.image_key))]
    )
    image = next(
        (name for name in wanted if name is not None and _holds_bytes(schema.field(name).type)), None
    )
    if image is None:
        return None
    keys = [names[name] for name in map(metadata.column_name, _KEY_COLUMNS) if name in names]
    key = next((name for name in keys if _is_plain(schema.field(name).type)), None)
    class_names = {name: found for name in schema.names if (found := _class_names(features.get(name)))}
    read = metadata.COLUMNS | {
        metadata.column_name(name) for name in (options.caption_key, options.label_key) if name
    }
    others = [name for name in schema.names if metadata.column_name(name) in read and name != image]
    used = {image, key, *others}
    return Columns(image, key, others, class_names, [name for name in schema.names if name not in used])


def image_bytes(value: Any) -> bytes | None:
    """The image's bytes; for a list, those of its first usable image."""
    if isinstance(value, list):
        return next((found for found in map(image_bytes, value) if found is not None), None)
    if isinstance(value, dict):
        return image_bytes(value.get("bytes"))
    return value if isinstance(value, bytes) else None


def with_class_names(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The metadata of a row, with class numbers replaced by class names; -1 means no class."""
    return {
        name: _named(row[name], columns.class_names[name]) if name in columns.class_names else row[name]
        for name in columns.others
    }


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return None if value == -1 else value


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The `datasets` features of each column; empty if `datasets` did not write the file."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _class_names(feature: Any) -> list[str] | None:
    """The class names of a class label, or of a list of class labels; None for other features."""
    if isinstance(feature, list) and len(feature) == 1:
        return _class_names(feature[0])
    if _kind(feature) in ("Sequence", "List", "LargeList"):
        return _class_names(feature.get("feature"))
    names = feature.get("names") if _kind(feature) == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _holds_bytes(kind.field(position).type)
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_plain(kind: pa.DataType) -> bool:
    """True for integers and text, also if dictionary-encoded."""
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return kind in (pa.string(), pa.large_string(), pa.string_view()) or pa.types.is_integer(kind)
