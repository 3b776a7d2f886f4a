"""The egress policy from the settings: our own ports."""

from pathlib import Path

import pytest

from imgsvc.adapters.http.egress import egress_policy
from imgsvc.settings.server import Settings


@pytest.mark.parametrize(
    ("urls", "ports"),
    [
        ({}, [8000, 6379]),
        ({"port": 9000, "redis_url": "redis://10.0.0.1:6390/0"}, [9000, 6390]),
        ({"redis_url": "unix:///run/valkey.sock"}, [8000]),
        ({"redis_url": "rediss://cache.internal"}, [8000, 6379]),
        ({"database_url": "postgresql+asyncpg://u:p@db/imgsvc"}, [8000, 6379, 5432]),
        ({"database_url": "postgresql+asyncpg://u:p@db:5433/imgsvc"}, [8000, 6379, 5433]),
        ({"database_url": "postgresql+asyncpg://u:p@/imgsvc?host=db&port=5434"}, [8000, 6379, 5434]),
        ({"database_url": "postgresql+asyncpg://u:p@/imgsvc?host=db:5435"}, [8000, 6379, 5435]),
        ({"database_url": "postgresql+asyncpg://u:p@/imgsvc?host=a:5436,b:5437"}, [8000, 6379, 5436, 5437]),
        ({"database_url": "sqlite+aiosqlite:////data/imgsvc.db"}, [8000, 6379]),
    ],
    ids=lambda each: str(each)[:60],
)
def test_our_own_ports_come_from_the_settings(urls: dict[str, str], ports: list[int], tmp_path: Path) -> None:
    assert sorted(egress_policy(Settings(data_dir=tmp_path).model_copy(update=urls)).own_ports) == sorted(ports)
