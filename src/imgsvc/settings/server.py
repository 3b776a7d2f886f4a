"""Every setting of the service, with unit, default and bounds; `settings/client.py` has those shared with clients."""

import os
from base64 import b64decode
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from imgsvc import __version__
from imgsvc.settings.client import PREFIX, ClientSettings, SharedSettings
from imgsvc.settings.key_weights import KeyWeights

Seconds = Annotated[float, Field(gt=0)]
MIB = 2**20

# The schedule that Standard Webhooks recommends ("Deliverability and reliability").
WEBHOOK_SCHEDULE = (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)


ADVANCED = frozenset({
    "codec_pixels", "codec_timeout", "dns_timeout", "fetch_buffer_bytes", "flush_assets", "flush_interval",
    "job_timeout", "lane_assets", "lane_lifetime", "lease", "quarantine_bytes", "redis_timeout", "sweep_interval",
    "tidy_after",
})  # fmt: skip
"""Settings that should not need a change; `docs/settings.md` marks them."""


class Settings(SharedSettings):
    """The whole configuration; invalid values are refused at start, all at once.

    Each comment above a group of settings is a heading of `docs/settings.md`.
    """

    # Storage
    database_url: str = Field(
        "",
        pattern=r"^$|^(sqlite\+aiosqlite:///|postgresql\+asyncpg://).",
        description="SQLAlchemy URL; empty: SQLite in the data folder",
    )
    database_connections: int = Field(
        5, ge=2, le=1_000, description="Connections to Postgres per process; a worker with 16 lanes needs two or three"
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        pattern="^(rediss?|unix)://",
        description="Redis or Valkey; `imgsvc up` starts one if unset",
    )
    redis_timeout: Seconds = Field(2, description="Seconds until a Redis command times out")
    storage_url: str = Field("", description="file://, s3://, gs:// or az:// URL; empty: `media` in the data folder")
    media_url: str = Field(
        "",
        pattern=r"^$|^https?://[^?#\s]+$",
        description="Base of the links to images: a CDN or the public name of the bucket; empty: `/media` of the API",
    )
    # Authentication
    auth: Literal["keys", "none"] = Field(
        "keys",
        description="`none` turns authentication off; `keys` requires an API key, except from this machine",
    )
    # Webhooks
    webhook_secret: SecretStr | None = Field(
        None,
        description=(
            "`whsec_…` secret for webhooks of batches uploaded without an API key; unset: one is generated and kept in "
            "the database, as for each API key"
        ),
    )
    # Metrics and logging
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for `/metrics`; unset: `/metrics` answers only on this machine"
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Lowest level that is logged")

    # Upload limits
    max_upload_bytes: int = Field(64 * MIB, ge=1024, le=1024 * MIB, description="Size of an upload, in bytes")
    max_rows: int = Field(200_000, ge=1, description="Data rows of a manifest")
    max_assets: int = Field(250_000, ge=1, description="Distinct URLs of a manifest")
    max_urls_per_row: int = Field(100, ge=1, description="URLs in one row")
    max_url_length: int = Field(2_048, ge=16, le=8_192, description="Characters of a URL")
    uploads_per_minute: int = Field(300, ge=1, description="Uploads per minute and API key")
    max_open_batches: int = Field(1_000, ge=1, description="Unfinished batches per API key")
    max_open_images: int = Field(
        1_000_000, ge=1, description="Unfinished images per API key; beyond this, uploads get 429"
    )

    # Outgoing network
    allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="Private or reserved networks that may be accessed, as comma-separated CIDRs"
    )
    proxy: str = Field(
        "",
        pattern="^$|^http://.",
        description=(
            "`http://host:port` proxy for images and webhooks; it resolves names itself, so it must refuse internal "
            "addresses"
        ),
    )
    ca_file: Path | None = Field(
        None, description="PEM file of certificate authorities to trust in addition to the usual ones"
    )
    follow_to_http: bool = Field(False, description="Follow redirects from https to http")
    user_agent: str = Field(f"imgsvc/{__version__}", min_length=1, description="User-Agent header sent to origins")
    # Fetching
    connect_timeout: Seconds = Field(5, description="Seconds that opening a connection may take")
    dns_timeout: Seconds = Field(5, description="Seconds that a DNS lookup may take")
    read_timeout: Seconds = Field(15, description="Seconds that an origin may be silent")
    total_timeout: Seconds = Field(30, le=45, description="Seconds that one fetch may take")
    max_image_bytes: int = Field(32 * MIB, ge=1024, description="Size of an image, in bytes")
    max_redirects: int = Field(5, ge=0, le=20, description="Maximum redirects per fetch")
    max_attempts: int = Field(3, ge=1, le=10, description="Attempts at an asset before it fails")
    max_fetches: int = Field(256, ge=1, description="Concurrent fetches per worker process")
    max_fetches_per_host: int = Field(64, ge=1, description="Concurrent fetches per host and worker process")
    host_patience: Seconds = Field(
        600, description="Seconds that images wait for a host that does not respond; then they fail"
    )
    give_up_after: Seconds = Field(
        24 * 3600, description="Seconds that the images of a batch wait for hosts that ask for pauses; then they fail"
    )
    fetch_buffer_bytes: int = Field(128 * MIB, ge=MIB, description="Bytes of images in memory per worker process")

    # Compression
    max_pixels: int = Field(
        50_000_000, ge=1, le=500_000_000, description="Pixels of an image, and of each frame of an animation"
    )
    max_frames: int = Field(2_000, ge=1, le=50_000, description="Frames of an animation")
    max_animation_pixels: int = Field(
        250_000_000, ge=1, le=2_000_000_000, description="Pixels of an animation, all frames together"
    )
    codec_threads: int = Field(
        os.cpu_count() or 1, ge=1, le=256, description="Images compressed concurrently per worker process"
    )
    codec_pixels: int = Field(
        64_000_000,
        ge=1,
        description=(
            "Pixels being compressed at a time per worker process; pixels of formats that need more memory than "
            "JPEG count up to six times. An image that exceeds the budget or may take seconds gets a sandbox process; "
            "the sandbox processes have a budget of the same size"
        ),
    )
    codec_timeout: Seconds = Field(
        40,
        description=(
            "CPU seconds that one image may take. The slowest image allowed, 49 megapixels of noise as AVIF, took 30; "
            "photographs of that size take up to 8"
        ),
    )
    quarantine_bytes: int = Field(
        2_048 * MIB,
        ge=512 * MIB,
        description=(
            "Virtual memory of a sandbox process, in bytes; it compresses one image that may crash a worker or delay "
            "others, or reads one workbook. Images of 50 megapixels took up to 1,854 MiB"
        ),
    )

    # Workers
    key_weights: KeyWeights = Field(
        {}, description="Shares of API keys in the workers while others wait too: `key_a=4,key_b=0.5`; all others: 1"
    )
    lane_assets: int = Field(
        64,
        ge=1,
        description=("Assets that one lane keeps in flight; a conditional fetch counts as a quarter"),
    )
    flush_assets: int = Field(32, ge=1, description="Finished assets written in one transaction")
    flush_interval: Seconds = Field(0.5, description="Seconds after which a smaller flush is written")
    lease: Seconds = Field(60, description="Seconds after which the assets of a dead worker are claimed by another")
    lane_lifetime: Seconds = Field(40, description="Seconds after which a lane yields to other batches")
    job_timeout: Seconds = Field(60, description="Seconds after which a job is cancelled; more than 5/6 of the lease")
    sweep_interval: int = Field(15, ge=1, le=60, description="Seconds between two sweeps")
    drain_timeout: Seconds = Field(20, description="Seconds that a process may take to stop")
    # Webhooks
    webhook_timeout: Seconds = Field(15, le=45, description="Seconds that one webhook attempt may take")
    webhook_schedule: Annotated[tuple[Annotated[float, Field(ge=0)], ...], NoDecode] = Field(
        WEBHOOK_SCHEDULE,
        min_length=1,
        max_length=50,
        description="Seconds before each webhook attempt, comma separated, ±10 %; after the last, delivery ends",
    )

    # Retention
    retention: float | None = Field(
        None, gt=0, description="Seconds after its end until a batch is deleted with its images; unset: never"
    )
    tidy_after: Seconds = Field(
        3_600, description="Seconds after a batch's end until files left behind by dead workers are removed"
    )

    @field_validator("allowed_networks", "webhook_schedule", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("database_url", "redis_url")
    @classmethod
    def _is_valid_url(cls, value: str) -> str:
        if not value.startswith(("sqlite", "unix")):
            _ = urlsplit(value).port  # raises a readable ValueError; a slash in a password must be %2F
        elif value.startswith("sqlite") and urlsplit(value).path.startswith("/file:"):  # others could read its files
            raise ValueError("must name a SQLite database by its path: sqlite+aiosqlite:////data/imgsvc.db")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _is_signing_secret(cls, value: SecretStr | None) -> SecretStr | None:
        # 24 to 64 bytes: Standard Webhooks 1.0.0, "Signature scheme". An invalid one would break every delivery.
        prefix, _, key = value.get_secret_value().partition("_") if value else ("whsec", "", "A" * 32)
        try:
            is_valid = prefix == "whsec" and 24 <= len(b64decode(key, validate=True)) <= 64
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValueError("must be `whsec_` followed by 24 to 64 bytes in base64")
        return value

    @model_validator(mode="after")
    def _are_consistent(self) -> Self:
        if not self.lane_lifetime < self.lease * 5 / 6 < self.job_timeout:
            raise ValueError("required: IMGSVC_LANE_LIFETIME < 5/6 of IMGSVC_LEASE < IMGSVC_JOB_TIMEOUT")
        if not self.total_timeout < self.lease * 5 / 6:
            raise ValueError("required: IMGSVC_TOTAL_TIMEOUT < 5/6 of IMGSVC_LEASE")
        if not self.webhook_timeout < self.job_timeout * 5 / 6:
            raise ValueError("required: IMGSVC_WEBHOOK_TIMEOUT < 5/6 of IMGSVC_JOB_TIMEOUT")
        if not self.max_image_bytes <= self.quarantine_bytes / 4:
            raise ValueError("required: IMGSVC_MAX_IMAGE_BYTES <= 1/4 of IMGSVC_QUARANTINE_BYTES")
        return self

    @property
    def database(self) -> str:
        """The database's SQLAlchemy URL, with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'imgsvc.db'}"

    @property
    def storage(self) -> str:
        """The storage's URL, with the default filled in."""
        return self.storage_url or (self.data_dir.resolve() / "media").as_uri()


def unknown_settings() -> list[str]:
    """Return names in the environment or `.env` that look like settings but are not: they have no effect."""
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *ClientSettings.model_fields)}
    file = Settings.model_config.get("env_file")
    given = {*os.environ, *(dotenv_values(str(file)) if file else ())}
    return sorted(name for name in given if name.upper().startswith(PREFIX) and name.upper() not in known)
