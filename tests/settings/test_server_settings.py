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


def test_key_weights_are_read_from_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().key_weights == {}
    monkeypatch.setenv("IMGSVC_KEY_WEIGHTS", "key_abc=4, key_def=0.5,")
    assert Settings().key_weights == {"key_abc": 4, "key_def": 0.5}


@pytest.mark.parametrize("value", ["key_a", "key_a=", "key_a=x", "=1", "key_a=0", "key_a=-1", "key_a=nan", "key_a=101"])
def test_wrong_key_weights_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSVC_KEY_WEIGHTS", value)
    with pytest.raises(ValidationError, match="key_weights"):
        Settings()


def test_a_key_with_two_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSVC_KEY_WEIGHTS", "key_a=1,key_a=2")
    with pytest.raises(ValidationError, match="one weight"):
        Settings()


def test_a_sqlite_uri_is_refused() -> None:
    with pytest.raises(ValidationError, match="by its path"):
        Settings(database_url="sqlite+aiosqlite:///file:/data/imgsvc.db?uri=true")
