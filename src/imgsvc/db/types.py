"""Column types that behave the same on SQLite and Postgres."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware datetime in UTC; SQLite stores it without a zone and would return it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Cache converted values: rows written together share their times."""
        process = super().bind_processor(dialect)
        return process and lru_cache(maxsize=64)(process)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # part of the signature
        if value is not None and value.tzinfo is None:
            raise ValueError(f"datetime without a time zone: {value}")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # part of the signature
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class NullableJson(TypeDecorator[Any]):
    """JSON that stores None as SQL NULL; SQLAlchemy's JSON stores the text `null`."""

    impl = JSON(none_as_null=True)
    cache_ok = True
