"""Every error Scopeview raises on purpose, and the exit code each one ends the command line with.

    ScopeviewError              1  the run failed
    ├── InputError              2  the input or the configuration is wrong; nothing was started
    │   ├── ModelError             a CLIP folder, its config or its weights
    │   │   └── NoTextError        a CLIP folder without a text encoder or a tokenizer that can be used
    │   ├── CheckpointError        an SAE file, its config or its weights
    │   ├── SourceError            an image source as a whole (one bad image is counted, not raised)
    │   ├── IndexFormatError       an index folder that is damaged, unfinished or of another format
    │   │   └── DamagedError          a file or blob of it that is not what was written (HTTP 503)
    │   ├── ConfigMismatchError    a resumed run whose configuration or checkpoint has changed
    │   ├── RevisionError          a repository, revision or file that the hub does not have
    │   └── NotFoundError          a slot, feature or image that this index does not hold (HTTP 404)
    ├── ImageError              1  one image that cannot be used; carries a `BadReason`
    ├── TransferError           1  a download that broke off
    ├── DiskFullError           1  no room for what is to be written; the run can be resumed
    └── TooManyBadImagesError   3  more bad images than the threshold allows

A message says what was wrong, which value, and what would be accepted or what to run next.
"""

from enum import StrEnum
from typing import ClassVar


class BadReason(StrEnum):
    """The reasons why a sample (or a whole shard) of a source is left out; the keys of a run's report."""

    EMPTY = "empty file"
    UNSUPPORTED = "unsupported format"
    CORRUPT = "corrupt image"
    TOO_LARGE = "too many bytes"
    TOO_MANY_PIXELS = "too many pixels"
    TOO_MANY_SCANS = "too many scans"
    SLOW_TO_DECODE = "takes too long to decode"
    DUPLICATE_KEY = "duplicate key"
    UNSAFE_KEY = "unsafe key"
    NO_IMAGE = "no image"
    BAD_METADATA = "bad metadata"
    TRUNCATED_SHARD = "truncated shard"
    UNREADABLE = "unreadable file"
    UNREADABLE_SHARD = "unreadable shard"
    NON_FINITE = "non-finite activations"
    BLOCKED = "on the block-list"
    GREY_16_BIT = "16-bit greyscale"  # a note: such an image is used


class ScopeviewError(Exception):
    exit_code: ClassVar[int] = 1


class InputError(ScopeviewError):
    exit_code = 2


class ModelError(InputError): ...


class NoTextError(ModelError): ...


class CheckpointError(InputError): ...


class SourceError(InputError): ...


class IndexFormatError(InputError): ...


class DamagedError(IndexFormatError): ...


class ConfigMismatchError(InputError): ...


class RevisionError(InputError): ...


class NotFoundError(InputError): ...


class ImageError(ScopeviewError):
    """`reason` is the image's category in the report; the message has the details."""

    def __init__(self, reason: BadReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[BadReason, str]]:
        """Makes the error picklable, so that one process can pass it to another."""
        return type(self), (self.reason, str(self))


class TransferError(ScopeviewError): ...


class DiskFullError(ScopeviewError): ...


class TooManyBadImagesError(ScopeviewError):
    exit_code = 3
