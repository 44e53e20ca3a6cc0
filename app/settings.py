"""Settings of the server: keyword arguments, or environment variables that begin with `SCOPEVIEW_`.

Nothing is read at import: the code that starts the server makes one `Settings` and passes it to `create_app`.
"""

import logging
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.formatting import UNSAFE_ABOVE
from scopeview.errors import InputError

LogFormat = Literal["text", "json"]


_PREFIX = "SCOPEVIEW_"
_READ_ELSEWHERE = (
    "SCOPEVIEW_CACHE",
    "SCOPEVIEW_IMAGES",
    "SCOPEVIEW_REQUIRE_IMAGES",
    "SCOPEVIEW_INDEX",
    "SCOPEVIEW_MEMORY",
)
"""Variables of the importers, the tests and `compose.yaml`."""

log = logging.getLogger(__name__)


class Settings(BaseSettings):
    """Immutable settings. The environment separates lists as in PATH (folders) or by commas (hosts)."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    index_dirs: Annotated[list[Path], NoDecode] = Field(description="finished index folders to serve")
    upload_dir: Path = Field(default=Path("uploads"), description="the only folder the server writes to")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0: any that is free")
    base_url: str = Field(
        default="",
        description="https://example.org or https://example.org/scope: where visitors find this site; put"
        " before the URLs in JSON, and its path before all others; empty for paths",
    )
    root_path: str = Field(
        default="",
        description="/scope: the path below which a proxy serves this site; that of base_url when not given",
    )
    trusted_hosts: Annotated[list[str], NoDecode] = Field(
        default=["*"], description="Host headers that are answered; name yours when the site is public"
    )

    shutdown_s: int = Field(
        default=10,
        ge=4,
        description="from SIGTERM to the end; requests under way are finished until three seconds before it",
    )
    api_cors: bool = Field(
        default=True, description="pages of other sites may read the JSON (GET, without cookies)"
    )

    log_format: LogFormat = Field(
        default="text", description="json: an object a line, for programs that collect logs"
    )

    page_cache_bytes: int = Field(
        default=64 * 1024**2,
        ge=0,
        description="memory for rendered pages, compressed, with headers and keys; 0: none kept",
    )

    unsafe_above: float = Field(
        default=UNSAFE_ABOVE, ge=0, description="images whose punsafe is above it are blurred until clicked"
    )
    blocklist: Path | None = Field(
        default=None,
        description="file of images and uploads that must not be shown: sha256, URL or domain, one a line;"
        " watched for changes",
    )
    report_to: str = Field(
        default="",
        description="mailto: or https: URL that report links lead to, with {index}, {image_id} and {url} put"
        " in ({image_id} of an upload: its id's beginning); empty: a form of our own, which appends to"
        " reports.jsonl beside the uploads",
    )

    max_upload_bytes: int = Field(default=10 * 1024**2, gt=0, description="maximum size of an uploaded file")
    max_upload_pixels: int = Field(
        default=50_000_000, gt=0, description="read from the image header, before decoding"
    )
    upload_ttl_hours: float = Field(default=24.0, gt=0, description="lifetime of an upload")
    max_uploads: int = Field(default=10_000, gt=0, description="uploads stored at one time; more are refused")
    uploads_per_minute: int = Field(
        default=30, ge=0, description="uploads from one address in a minute; over it 429. 0: no limit"
    )
    uploads_per_client: int = Field(
        default=8, ge=0, description="uploads of one address under way at one time; over it 429. 0: no limit"
    )
    upload_read_s: float = Field(default=60.0, gt=0, description="time for a client to send its image")
    upload_min_bytes_per_s: int = Field(
        default=4096, gt=0, description="a slower sender is cut off (408) after its first ten seconds"
    )

    model_requests_per_client: int = Field(
        default=4, gt=0, description="requests of one address that run the model at one time; others wait"
    )
    model_seconds_per_minute: float = Field(
        default=30.0,
        ge=0,
        description="model time for one address in a minute, uploads aside; over it 429. 0: no limit",
    )
    requests_per_client: int = Field(
        default=2, gt=0, description="requests of one address that are worked on at one time; others wait"
    )

    encoder_device: Literal["auto", "cpu", "cuda", "off"] = Field(
        default="auto", description="off: no uploads"
    )
    encoder_load: Literal["lazy", "start"] = Field(
        default="lazy", description="load models at the first upload"
    )
    upload_queue: int = Field(default=16, gt=0, description="uploads processed at one time; over it 503")
    upload_batch: int = Field(default=8, gt=0, description="maximum batch size of the model")
    upload_deadline_s: float = Field(
        default=60.0, gt=0, description="time an upload may wait to be decoded, and for its codes"
    )
    decode_deadline_s: float = Field(
        default=20.0, gt=0, description="time limit for decoding one image; then its process is ended"
    )

    @field_validator("index_dirs", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("trusted_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("report_to")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value and not value.startswith(("mailto:", "https://", "http://")):
            raise ValueError("must begin with mailto:, https:// or http://")
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        return check_base_url(value.rstrip("/")) if value else value

    @field_validator("root_path")
    @classmethod
    def _root_path(cls, value: str) -> str:
        return check_root_path(value.rstrip("/"))

    @model_validator(mode="after")
    def _one_prefix(self) -> Self:
        path = urlsplit(self.base_url).path
        if self.base_url and self.root_path and path != self.root_path:
            raise ValueError(
                f"base_url {self.base_url!r} has the path {path!r} and root_path is {self.root_path!r}:"
                " give one of them, or the same path in both"
            )
        return self

    @property
    def path_prefix(self) -> str:
        """The path before all URLs: `/scope`, or empty at the root of a host."""
        return self.root_path or urlsplit(self.base_url).path


def read_settings(given: dict[str, Any]) -> Settings:
    """Reads `given`, and the environment for the rest. Raises `InputError` that names what is wrong.

    Logs a warning for variables that no setting has, which may be misspelt.
    """
    for name in unknown_variables(os.environ):
        near = get_close_matches(name, _variables(), n=1)
        advice = f": did you mean {near[0]}?" if near else ""
        log.warning("%s is set in the environment, and no setting has that name%s", name, advice)
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        wrong = [f"{_named(found['loc'], given)}{found['msg']}" for found in error.errors()]
        raise InputError("; ".join(wrong).replace("Value error, ", "")) from None


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """The names that begin as settings do and that nothing reads, in order."""
    known = {*_variables(), *_READ_ELSEWHERE}
    return sorted(name for name in environment if name.startswith(_PREFIX) and name.upper() not in known)


def _variables() -> list[str]:
    return [_PREFIX + name.upper() for name in Settings.model_fields]


def _named(where: tuple[int | str, ...], given: dict[str, Any]) -> str:
    """Names a setting: `SCOPEVIEW_BASE_URL: `, or the name of an option of the command."""
    if not where:
        return ""
    name = str(where[0])
    return f"{name if name in given else f'SCOPEVIEW_{name.upper()}'}: "


def check_base_url(value: str) -> str:
    """Returns the URL. Raises `ValueError` if no browser could go there."""
    expected = "expected for example https://example.org or https://example.org/scope"
    try:
        _HTTP_URL.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{value!r}: {error.errors()[0]['msg']}; {expected}") from None
    url = urlsplit(value)
    if not url.hostname or "@" in url.netloc or "?" in value or "#" in value:
        raise ValueError(f"{value!r} needs a host, and no user, query or fragment; {expected}")
    check_root_path(url.path)
    return value


def check_root_path(value: str) -> str:
    """Returns the path. Raises `ValueError` if it is not plain."""
    if value and not _PLAIN_PATH.fullmatch(value):
        raise ValueError(
            f"{value!r} is no plain path; expected for example /scope: letters, digits, '-', '.', '_', '~'"
        )
    return value


_HTTP_URL = TypeAdapter(AnyHttpUrl)
_PLAIN_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
