"""What unit tests share."""

import pytest
from hypothesis import HealthCheck, settings
from PIL import AvifImagePlugin, Image

from imgsvc.domain.imaging.compress import CodecLimits, prepare_pillow

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # a machine that stands still for a second says nothing about an example


@pytest.fixture
def prepared_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow as a worker prepares it, put back after the test (pytest puts the warnings back itself)."""
    for holder, name in ((Image, "MAX_IMAGE_PIXELS"), (AvifImagePlugin, "DEFAULT_MAX_THREADS")):
        monkeypatch.setattr(holder, name, getattr(holder, name))
    prepare_pillow(CodecLimits())
