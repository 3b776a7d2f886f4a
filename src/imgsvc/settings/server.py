"""Every setting, with unit, default and bound; those that its users need too stand in `settings/client.py`."""

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

Seconds = Annotated[float, Field(gt=0)]
MIB = 2**20

# What Standard Webhooks recommends ("Deliverability and reliability").
WEBHOOK_SCHEDULE = (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)


ADVANCED = frozenset({
    "codec_pixels", "codec_timeout", "dns_timeout", "fetch_buffer_bytes", "flush_assets", "flush_interval",
    "job_timeout", "lane_assets", "lane_lifetime", "lease", "quarantine_bytes", "redis_timeout", "sweep_interval",
    "tidy_after",
})  # fmt: skip
"""Settings that should not need a change; `docs/settings.md` marks them."""


class Settings(SharedSettings):
    """The whole configuration; wrong values are refused at start, all at once.

    Each comment above a group of settings is a heading of `docs/settings.md`.
    """

    # Storage
    database_url: str = Field(
        "",
        pattern=r"^$|^(sqlite\+aiosqlite:///|postgresql\+asyncpg://).",
        description="SQLAlchemy URL; empty: SQLite in the data folder",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        pattern="^(rediss?|unix)://",
        description="Redis or Valkey; `imgsvc up` starts one if unset",
    )
    redis_timeout: Seconds = Field(2, description="Seconds that Redis may take for an answer")
    storage_url: str = Field("", description="file://, s3://, gs:// or az:// URL; empty: `media` in the data folder")
    # Authentication
    auth: Literal["keys", "none"] = Field(
        "keys",
        description="`none` says aloud that whoever reaches the API may use it; else other machines need an API key",
    )
    # Webhooks
    webhook_secret: SecretStr | None = Field(
        None,
        description=(
            "`whsec_…` that signs the webhooks of what is made without API keys; unset: one is made and kept in the "
            "database, as for each API key"
        ),
    )
    # Metrics and logging
    metrics_token: SecretStr | None = Field(
        None, description="What a Prometheus sends as a bearer token; unset: `/metrics` answers on this machine only"
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged")

    # Upload limits
    max_upload_bytes: int = Field(64 * MIB, ge=1024, le=1024 * MIB, description="Size of an upload, in bytes")
    max_rows: int = Field(200_000, ge=1, description="Data rows of a manifest")
    max_assets: int = Field(250_000, ge=1, description="Distinct URLs of a manifest")
    max_urls_per_row: int = Field(100, ge=1, description="URLs in one row")
    max_url_length: int = Field(2_048, ge=16, le=8_192, description="Characters of a URL")
    uploads_per_minute: int = Field(300, ge=1, description="Uploads of one API key in a minute")
    max_open_batches: int = Field(1_000, ge=1, description="Batches of one API key that have not ended")
    max_open_images: int = Field(
        1_000_000, ge=1, description="Images of one API key that are not done, from which on it waits with uploads"
    )

    # Outgoing network
    allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="CIDRs, comma separated, that may be called although they are private or reserved"
    )
    proxy: str = Field(
        "",
        pattern="^$|^http://.",
        description=(
            "`http://host:port` through which images and webhooks go; it looks names up itself, so it has to refuse "
            "internal addresses"
        ),
    )
    ca_file: Path | None = Field(
        None, description="PEM file with authorities whose certificates are trusted beside the usual ones"
    )
    follow_to_http: bool = Field(False, description="Follow redirects from https to http")
    user_agent: str = Field(f"imgsvc/{__version__}", min_length=1, description="How origins see who is fetching")
    # Fetching
    connect_timeout: Seconds = Field(5, description="Seconds until a connection must stand")
    dns_timeout: Seconds = Field(5, description="Seconds that looking up a host's name may take")
    read_timeout: Seconds = Field(15, description="Seconds that an origin may be silent")
    total_timeout: Seconds = Field(30, le=45, description="Seconds that one fetch may take")
    max_image_bytes: int = Field(32 * MIB, ge=1024, description="Size of an image, in bytes")
    max_redirects: int = Field(5, ge=0, le=20, description="Redirects that are followed")
    max_attempts: int = Field(3, ge=1, le=10, description="Attempts at an asset before it has failed")
    max_fetches: int = Field(256, ge=1, description="Fetches in flight in one worker process")
    max_fetches_per_host: int = Field(64, ge=1, description="Fetches in flight to one host in one worker process")
    fetch_buffer_bytes: int = Field(128 * MIB, ge=MIB, description="Image bytes in memory in one worker process")

    # Compression
    max_pixels: int = Field(
        50_000_000, ge=1, le=500_000_000, description="Pixels of an image, and of each frame of an animation"
    )
    max_frames: int = Field(2_000, ge=1, le=50_000, description="Frames of an animation")
    max_animation_pixels: int = Field(
        250_000_000, ge=1, le=2_000_000_000, description="Pixels of an animation, all frames together"
    )
    codec_threads: int = Field(
        os.cpu_count() or 1, ge=1, le=256, description="Images compressed at one time in one worker process"
    )
    codec_pixels: int = Field(
        64_000_000,
        ge=1,
        description=(
            "Pixels being worked on at one time in one worker process; those of formats that take more memory than "
            "JPEG count up to six times. What weighs more than all of them, or may take seconds, gets a process of its "
            "own; those processes have as many pixels again"
        ),
    )
    codec_timeout: Seconds = Field(
        40,
        description=(
            "Seconds of the processor that one image may take. The slowest allowed, 49 megapixels of noise as AVIF, "
            "took 30; photographs of that size take up to 8"
        ),
    )
    quarantine_bytes: int = Field(
        2_048 * MIB,
        ge=512 * MIB,
        description=(
            "Memory of a process of its own for one image, which may bring down a worker or keep others waiting, in "
            "bytes. Images of 50 megapixels took up to 1,854 MiB"
        ),
    )

    # Workers
    lane_assets: int = Field(
        64,
        ge=1,
        description=(
            "Assets that one lane keeps in flight; those whose origin is only asked whether they have changed count a "
            "quarter"
        ),
    )
    flush_assets: int = Field(32, ge=1, description="Finished assets that are written together")
    flush_interval: Seconds = Field(0.5, description="Seconds after which fewer are written")
    lease: Seconds = Field(60, description="Seconds until the assets of a worker that went silent are taken over")
    lane_lifetime: Seconds = Field(40, description="Seconds after which a lane makes place for others")
    job_timeout: Seconds = Field(60, description="Seconds after which a job is abandoned; at least the lease")
    sweep_interval: int = Field(15, ge=1, le=60, description="Seconds between two sweeps")
    drain_timeout: Seconds = Field(20, description="Seconds that a process may take to stop")
    # Webhooks
    webhook_timeout: Seconds = Field(15, le=45, description="Seconds that one webhook attempt may take")
    webhook_schedule: Annotated[tuple[Annotated[float, Field(ge=0)], ...], NoDecode] = Field(
        WEBHOOK_SCHEDULE,
        min_length=1,
        max_length=50,
        description="Seconds before each webhook attempt, comma separated, ±10 %; after the last the event is given up",
    )

    # Retention
    retention: float | None = Field(
        None, gt=0, description="Seconds after its end that a batch is removed with its images; unset: never"
    )
    tidy_after: Seconds = Field(
        3_600, description="Seconds after a batch's end that files which workers that died left behind are removed"
    )

    @field_validator("allowed_networks", "webhook_schedule", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("database_url", "redis_url")
    @classmethod
    def _can_be_taken_apart(cls, value: str) -> str:
        if not value.startswith(("sqlite", "unix")):
            _ = urlsplit(value).port  # a ValueError in words; a password with a slash needs %2F
        elif value.startswith("sqlite") and urlsplit(value).path.startswith("/file:"):  # others could read its files
            raise ValueError("must name a SQLite database by its path: sqlite+aiosqlite:////data/imgsvc.db")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        # 24 to 64 bytes: Standard Webhooks 1.0.0, "Signature scheme". A wrong one would break every delivery for ever.
        prefix, _, key = value.get_secret_value().partition("_") if value else ("whsec", "", "A" * 32)
        try:
            signs = prefix == "whsec" and 24 <= len(b64decode(key, validate=True)) <= 64
        except ValueError:
            signs = False
        if not signs:
            raise ValueError("must be `whsec_` and 24 to 64 bytes in base 64")
        return value

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if not self.lane_lifetime < self.lease * 5 / 6 < self.job_timeout:
            raise ValueError("needed: IMGSVC_LANE_LIFETIME < 5/6 of IMGSVC_LEASE < IMGSVC_JOB_TIMEOUT")
        if not self.total_timeout < self.lease * 5 / 6:
            raise ValueError("needed: IMGSVC_TOTAL_TIMEOUT < 5/6 of IMGSVC_LEASE")
        if not self.webhook_timeout < self.job_timeout * 5 / 6:
            raise ValueError("needed: IMGSVC_WEBHOOK_TIMEOUT < 5/6 of IMGSVC_JOB_TIMEOUT")
        if not self.max_image_bytes <= self.quarantine_bytes / 4:
            raise ValueError("needed: IMGSVC_MAX_IMAGE_BYTES <= 1/4 of IMGSVC_QUARANTINE_BYTES")
        return self

    @property
    def database(self) -> str:
        """The database's SQLAlchemy URL, with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'imgsvc.db'}"

    @property
    def storage(self) -> str:
        """The storage's URL, with the default filled in."""
        return self.storage_url or (self.data_dir.resolve() / "media").as_uri()


def mistaken_names() -> list[str]:
    """What looks like a setting, in the environment or `.env`, and is none: it would have no effect."""
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *ClientSettings.model_fields)}
    file = Settings.model_config.get("env_file")
    given = {*os.environ, *(dotenv_values(str(file)) if file else ())}
    return sorted(name for name in given if name.upper().startswith(PREFIX) and name.upper() not in known)
