"""Fixtures of the unit tests."""

import pytest
from hypothesis import HealthCheck, settings
from PIL import AvifImagePlugin, Image

from imgsvc.domain.imaging.compress import CodecLimits, prepare_pillow

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # on a busy machine, timeouts of single examples mean nothing


@pytest.fixture
def prepared_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow as a worker prepares it, restored after the test (pytest restores the warnings itself)."""
    for holder, name in ((Image, "MAX_IMAGE_PIXELS"), (AvifImagePlugin, "DEFAULT_MAX_THREADS")):
        monkeypatch.setattr(holder, name, getattr(holder, name))
    prepare_pillow(CodecLimits())
