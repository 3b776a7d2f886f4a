"""The tables. Statuses are strings with a CHECK; all times are timezone-aware and in UTC; routes never return rows."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, String, Text, UniqueConstraint, false, text
from sqlmodel import Field, SQLModel

from imgsvc.db.types import NullableJson, UtcDateTime
from imgsvc.domain.status import AssetStatus, BatchStatus, DeliveryStatus

# Statements repeat these as literals: SQLite uses a partial index only if the query contains its condition literally.
OPEN_ASSETS = "status IN ('pending', 'processing')"
OPEN_BATCHES = "status IN ('pending', 'processing')"
OPEN_DELIVERIES = "status = 'pending'"
REUSABLE_ASSETS = "reuse_hash IS NOT NULL"
TO_CLEAN_UP = "tidy_at IS NOT NULL"
CHANGING_BATCHES = "change IS NOT NULL"
VERSIONS = "catalogue IS NOT NULL"
EXPIRING_BATCHES = "expires_at IS NOT NULL AND finished_at IS NOT NULL AND deleted_at IS NULL"

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _one_of(statuses: type[StrEnum]) -> CheckConstraint:
    names = ", ".join(f"'{status}'" for status in statuses)
    return CheckConstraint(f"status IN ({names})", name="status")


class ApiKey(SQLModel, table=True):
    """An API key. `key_local` always exists, has no token, and owns everything created without a key."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True, max_length=40)
    name: str = Field(max_length=200)
    secret_hash: str | None = Field(default=None, max_length=128)
    former_hash: str | None = Field(default=None, max_length=128)
    """Hash of the token before the last rotation, which works until `former_until`."""
    former_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    webhook_secrets: list[dict[str, Any]] = Field(sa_type=NullableJson)
    """`[{"secret": "whsec_…", "link_secret": "…", "until": null | ISO time}]`, newest first; in plain text for HMAC."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    media_folder: str | None = Field(default=None, max_length=24)
    """Folder of its images in the storage and in their URLs, for ever; NULL until its first batch is processed."""
    removals: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Number of the last finished removal of stored files."""


class Batch(SQLModel, table=True):
    """One accepted CSV, with the counters that status requests return."""

    __tablename__ = "batch"
    __table_args__ = (
        _one_of(BatchStatus),
        CheckConstraint("succeeded + failed + cancelled + processing <= asset_count", name="counts"),
        Index("ix_batch_open", "id", sqlite_where=text(OPEN_BATCHES), postgresql_where=text(OPEN_BATCHES)),
        Index("ix_batch_api_key_id_id", "api_key_id", "id"),
        Index(
            "ix_batch_catalogue",
            "api_key_id",
            "catalogue",
            "id",
            sqlite_where=text(VERSIONS),
            postgresql_where=text(VERSIONS),
        ),
        Index("ix_batch_changing", "id", sqlite_where=text(CHANGING_BATCHES), postgresql_where=text(CHANGING_BATCHES)),
        Index("ix_batch_untidy", "tidy_at", sqlite_where=text(TO_CLEAN_UP), postgresql_where=text(TO_CLEAN_UP)),
        Index(
            "ix_batch_expiring",
            "expires_at",
            sqlite_where=text(EXPIRING_BATCHES),
            postgresql_where=text(EXPIRING_BATCHES),
        ),
    )

    id: str = Field(primary_key=True, max_length=40)
    api_key_id: str = Field(foreign_key="api_key.id", max_length=40)
    status: str = Field(max_length=24)
    round: int = 1
    version: int = 1
    specs: list[dict[str, Any]] = Field(sa_type=NullableJson)
    webhook_url: str | None = Field(default=None, sa_type=Text)
    filename: str | None = Field(default=None, max_length=255)
    manifest_sha256: str = Field(max_length=64)
    header: list[str] = Field(sa_type=NullableJson)
    url_column: int
    encoding: str = Field(max_length=24)
    delimiter: str = Field(max_length=1)
    file_format: dict[str, Any] | None = Field(default=None, sa_type=NullableJson)
    """A `FileFormat`; NULL for a CSV of versions that did not record it."""
    warnings: list[dict[str, Any]] = Field(sa_type=NullableJson)
    warnings_total: int = 0
    extra: dict[str, str] = Field(default_factory=dict, sa_type=NullableJson, sa_column_kwargs={"name": "metadata"})
    """The client's own pairs, called `metadata` everywhere else; SQLAlchemy reserves that name."""
    product_count: int
    url_count: int
    asset_count: int
    processing: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    errors: dict[str, int] = Field(default_factory=dict, sa_type=NullableJson)
    input_bytes: int = Field(default=0, sa_type=BigInteger)
    output_bytes: int = Field(default=0, sa_type=BigInteger)
    names: str | None = Field(default=None, sa_type=Text)
    """Template of the names of its images; NULL: the default."""
    refresh: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Fetch and compress every image again instead of reusing earlier results."""
    overran_round: int | None = None
    """The round in which an image took too long for a codec thread; its other images are compressed in the sandbox."""
    change: str | None = Field(default=None, sa_type=Text)
    """The change in progress: `cancel`, `retry` with the error codes (services/batches/change), or `compare` with the
    earlier version of its catalogue (services/results/compare_versions)."""
    catalogue: str | None = Field(default=None, max_length=255)
    """The client's name for what this batch is a version of."""
    source: dict[str, Any] | None = Field(default=None, sa_type=NullableJson)
    """Where the service fetched the file itself, and the validators of the response."""
    changes: dict[str, Any] | None = Field(default=None, sa_type=NullableJson)
    """The earlier version that the batch is compared with, and from its end the number of rows by change."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    round_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Time at which the current round began; NULL in batches of versions that did not record it."""
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Time from which the batch is invisible; its renditions and rows are removed, its own row last."""
    tidy_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Time at which its stored files are next compared with its rows; NULL while it is open."""


class Product(SQLModel, table=True):
    """One data row of the CSV; its URLs are those of the assets in `slots`."""

    __tablename__ = "product"

    batch_id: str = Field(primary_key=True, foreign_key="batch.id", max_length=40)
    position: int = Field(primary_key=True)
    serial_number: str = Field(sa_type=Text)
    product_name: str = Field(sa_type=Text)
    cells: list[str] = Field(sa_type=NullableJson)
    slots: list[int] = Field(sa_type=NullableJson)
    slot_counts: list[int] | None = Field(default=None, sa_type=NullableJson)
    """Number of slots of each image column; NULL if there is only one."""
    source: str | None = Field(default=None, sa_type=Text)
    """The row as text, if it is to be returned as it was written and the file's format alone does not say how."""
    change: str | None = Field(default=None, max_length=8)
    """`new` or `changed`, if the batch was compared with an earlier version; NULL: unchanged, or not compared."""


class GoneProduct(SQLModel, table=True):
    """A data row of the earlier version of the catalogue that this batch does not have."""

    __tablename__ = "gone_product"

    batch_id: str = Field(primary_key=True, foreign_key="batch.id", max_length=40)
    position: int = Field(primary_key=True)
    """Its position in the earlier version."""
    cells: list[str] = Field(sa_type=NullableJson)
    """Its cells, in the columns of this batch."""


class Asset(SQLModel, table=True):
    """One distinct image URL of a batch."""

    __tablename__ = "asset"
    __table_args__ = (
        _one_of(AssetStatus),
        Index(
            "ix_asset_open_by_host",
            "batch_id",
            "host_number",
            "due_at",
            "position",
            sqlite_where=text(OPEN_ASSETS),
            postgresql_where=text(OPEN_ASSETS),
        ),
        Index(
            "ix_asset_reuse",
            "reuse_hash",
            "batch_id",
            sqlite_where=text(REUSABLE_ASSETS),
            postgresql_where=text(REUSABLE_ASSETS),
        ),
    )

    batch_id: str = Field(primary_key=True, foreign_key="batch.id", max_length=40)
    position: int = Field(primary_key=True)
    origin_url: str = Field(sa_type=Text)
    host_number: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Number of the URL's host among the hosts of its batch."""
    slug: str = Field(sa_type=String(80).with_variant(String(40), "sqlite"))
    """Name of the image, part of its renditions' keys: made of the first product that shows it (domain/names)."""
    status: str = Field(max_length=24)
    claim: str | None = Field(default=None, max_length=32)
    due_at: datetime = Field(sa_type=UtcDateTime)
    """Time from which it may be claimed: the end of its lease while processing, of its backoff while pending."""
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Attempts to fetch it, including the successful one."""
    lost: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Runs whose lease on it expired; they are presumed dead."""
    suspicion: str | None = Field(default=None, max_length=16)
    """A `Suspicion`; kept until the batch is retried."""
    storage_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    quarantine_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    input_format: str | None = Field(default=None, max_length=16)
    width: int | None = None
    height: int | None = None
    input_bytes: int | None = None
    renditions: list[dict[str, Any]] | None = Field(default=None, sa_type=NullableJson)
    error_code: str | None = Field(default=None, max_length=40)
    error_detail: str | None = Field(default=None, sa_type=Text)
    http_status: int | None = None
    etag: str | None = Field(default=None, max_length=512)
    last_modified: str | None = Field(default=None, max_length=512)
    final_url_hash: str | None = Field(default=None, max_length=64)
    """SHA-256 of the URL, after redirects, that sent these validators. A hash, because the URL may be signed."""
    reuse_hash: str | None = Field(default=None, max_length=64)
    """Key under which later batches find the result (RenditionPlan); set on succeeded assets."""
    updated_at: datetime = Field(sa_type=UtcDateTime)


class Reusable(SQLModel, table=True):
    """The asset with the newest result for a reuse hash.

    A narrow table, because a hash is at a random place of its index. It has no foreign key: a row whose asset is gone
    is no result.
    """

    __tablename__ = "reusable"
    __table_args__ = ({"postgresql_with": {"fillfactor": 80}},)

    hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    """The first half of the asset's `reuse_hash`."""
    batch_id: str = Field(max_length=40)
    position: int


class StoredFile(SQLModel, table=True):
    """A stored file that a batch names. It is removed from the storage when no batch names it any more.

    A narrow table, like `Reusable`. Its rows are written and removed with those of the assets.
    """

    __tablename__ = "stored_file"
    __table_args__ = ({"postgresql_with": {"fillfactor": 80}},)

    hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    """`key_hash` of the storage key."""
    batch_id: str = Field(primary_key=True, max_length=40)
    position: int
    """Position of an asset that has it."""


class FileRemoval(SQLModel, table=True):
    """A stored file that no batch names, and that is being removed or was removed lately (queries/stored_files)."""

    __tablename__ = "file_removal"

    hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    key: str = Field(sa_type=Text)
    api_key_id: str = Field(max_length=40)
    began_at: datetime = Field(sa_type=UtcDateTime, index=True)
    number: int | None = None
    """Number of the removal among those of its API key; NULL while it is in progress."""


class Delivery(SQLModel, table=True):
    """A webhook message; its id is the `webhook-id` of every attempt."""

    __tablename__ = "delivery"
    __table_args__ = (
        _one_of(DeliveryStatus),
        UniqueConstraint("batch_id", "round"),
        Index("ix_delivery_open", "due_at", sqlite_where=text(OPEN_DELIVERIES), postgresql_where=text(OPEN_DELIVERIES)),
    )

    id: str = Field(primary_key=True, max_length=40)
    batch_id: str = Field(foreign_key="batch.id", max_length=40)
    round: int
    event_type: str = Field(max_length=60)
    body: str = Field(sa_type=Text)
    url: str = Field(sa_type=Text)
    host: str = Field(default="", max_length=300, sa_column_kwargs={"server_default": text("''")})
    """Host of `url`; deliveries to one host share a limit."""
    status: str = Field(max_length=24)
    attempts: int = 0
    schedule_from: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Attempts made before the current schedule began; a redelivery restarts the schedule."""
    due_at: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class DeliveryAttempt(SQLModel, table=True):
    """One POST of a delivery, and its result."""

    __tablename__ = "delivery_attempt"

    delivery_id: str = Field(primary_key=True, foreign_key="delivery.id", max_length=40)
    number: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    duration: float
    """Seconds."""
    http_status: int | None = None
    error: str | None = Field(default=None, sa_type=Text)
    answer: str | None = Field(default=None, sa_type=Text)


class IdempotencyKey(SQLModel, table=True):
    """A client's key that makes repeating an upload safe; it is inserted before its batch, so it has no foreign key."""

    __tablename__ = "idempotency_key"

    api_key_id: str = Field(primary_key=True, foreign_key="api_key.id", max_length=40)
    key: str = Field(primary_key=True, max_length=255)
    fingerprint: str = Field(max_length=64)
    """SHA-256 over the upload's bytes and its fields."""
    batch_id: str = Field(max_length=40, index=True)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
