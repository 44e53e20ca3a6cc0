"""What an operator can set: by keyword, or by environment variables that begin with `SCOPEVIEW_`.

Nothing is read at import; whoever starts the server makes one `Settings` and hands it to `create_app`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.formatting import UNSAFE_ABOVE


class Settings(BaseSettings):
    """Frozen once made. Lists in the environment are separated as in PATH (folders) or by commas (hosts)."""

    model_config = SettingsConfigDict(env_prefix="SCOPEVIEW_", frozen=True, extra="forbid")

    index_dirs: Annotated[list[Path], NoDecode] = Field(description="finished index folders to serve")
    upload_dir: Path = Field(default=Path("uploads"), description="the only folder the server writes to")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535)
    base_url: str = Field(
        default="", description="https://example.org: put before the URLs in JSON; empty for paths"
    )
    trusted_hosts: Annotated[list[str], NoDecode] = Field(
        default=["*"], description="Host headers that are answered; name yours when the site is public"
    )

    page_cache_bytes: int = Field(
        default=64 * 1024**2,
        ge=0,
        description="memory for rendered pages, which are compressed; 0: none kept",
    )

    unsafe_above: float = Field(
        default=UNSAFE_ABOVE, ge=0, description="pictures whose punsafe is above it are blurred until clicked"
    )
    blocklist: Path | None = Field(
        default=None,
        description="file of what must not be shown: sha256, URL or domain, one a line; watched for changes",
    )
    report_to: str = Field(
        default="",
        description="mailto: or https: URL that report links lead to, with {index}, {image_id} and {url} put"
        " in; empty: a form of our own, which appends to reports.jsonl beside the uploads",
    )

    max_upload_bytes: int = Field(default=10 * 1024**2, gt=0)
    max_upload_pixels: int = Field(
        default=50_000_000, gt=0, description="by the picture's header, before decoding"
    )
    upload_ttl_hours: float = Field(default=24.0, gt=0, description="how long an upload is kept")
    max_uploads: int = Field(default=10_000, gt=0, description="uploads kept at one time; more are refused")
    uploads_per_minute: int = Field(
        default=30, ge=0, description="pictures taken from one address in a minute; over it 429. 0: any"
    )
    upload_read_s: float = Field(default=60.0, gt=0, description="time a client has to send its picture")

    encoder_device: Literal["auto", "cpu", "cuda", "off"] = Field(
        default="auto", description="off: no uploads"
    )
    encoder_load: Literal["lazy", "start"] = Field(
        default="lazy", description="load models at the first upload"
    )
    upload_queue: int = Field(default=16, gt=0, description="uploads taken in at one time; over it 503")
    upload_batch: int = Field(
        default=8, gt=0, description="pictures that go through the model together, at most"
    )
    upload_deadline_s: float = Field(default=60.0, gt=0, description="time an upload may wait for its codes")

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
    def _bare(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")
