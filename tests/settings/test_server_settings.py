"""Settings that do not fit together are refused at start."""

import pytest
from pydantic import ValidationError

from imgsvc.settings.server import MIB, Settings


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ("IMGSVC_LANE_LIFETIME", {"lane_lifetime": 50}),
        ("IMGSVC_JOB_TIMEOUT", {"lease": 120, "lane_lifetime": 40}),
        ("IMGSVC_TOTAL_TIMEOUT", {"total_timeout": 30, "lease": 36, "lane_lifetime": 20}),
        (
            "IMGSVC_WEBHOOK_TIMEOUT",
            {"webhook_timeout": 10, "job_timeout": 12, "lease": 12, "lane_lifetime": 6, "total_timeout": 5},
        ),
        ("IMGSVC_MAX_IMAGE_BYTES", {"max_image_bytes": 512 * MIB, "quarantine_bytes": 1024 * MIB}),
    ],
)
def test_contradictory_settings_are_named(names: str, values: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=names):
        Settings.model_validate(values)


def test_a_webhook_attempt_cannot_outlive_its_lease() -> None:
    with pytest.raises(ValidationError, match="webhook_timeout"):
        Settings(webhook_timeout=46)


def test_a_sqlite_uri_is_refused() -> None:
    with pytest.raises(ValidationError, match="by its path"):
        Settings(database_url="sqlite+aiosqlite:///file:/data/imgsvc.db?uri=true")
