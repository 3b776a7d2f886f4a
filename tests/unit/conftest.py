"""What unit tests share."""

import pytest
from PIL import AvifImagePlugin, Image

from imgsvc.domain.images import CodecLimits, prepare_pillow


@pytest.fixture
def prepared_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow as a worker prepares it, put back after the test (pytest puts the warnings back itself)."""
    for holder, name in ((Image, "MAX_IMAGE_PIXELS"), (AvifImagePlugin, "DEFAULT_MAX_THREADS")):
        monkeypatch.setattr(holder, name, getattr(holder, name))
    prepare_pillow(CodecLimits())
