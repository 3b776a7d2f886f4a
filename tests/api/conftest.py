"""The API on each kind of database; modules that only test HTTP override `database_kind`."""

import pytest

from imgsvc.settings.server import Settings
from support.polling import LONG_TIMEOUT_SETTINGS


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update=LONG_TIMEOUT_SETTINGS)
