"""The limit on open files: each process of the service raises its soft limit to the hard one."""

import asyncio
import os
import sys

import psutil
import pytest

from imgsvc.settings.server import Settings
from support.stack import free_port, until, with_descriptors

pytestmark = pytest.mark.slow

SOFT, HARD = 200, 300
COMMANDS = {"api": ("imgsvc", "api"), "worker": ("imgsvc.worker",), "up": ("imgsvc", "up", "--workers", "1")}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_a_process_of_the_service_raises_its_soft_limit_to_the_hard_one(
    settings: Settings, command: tuple[str, ...]
) -> None:
    environment = {
        **os.environ,
        "IMGSVC_DATA_DIR": str(settings.data_dir),
        "IMGSVC_DATABASE_URL": settings.database_url,
        "IMGSVC_REDIS_URL": settings.redis_url,
        "IMGSVC_PORT": str(free_port()),
    }
    process = await asyncio.create_subprocess_exec(
        *with_descriptors(SOFT, HARD, sys.executable, "-m", *command),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def is_raised() -> bool:
        return bool(psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE) == (HARD, HARD))

    try:
        await until(is_raised)
    finally:
        process.terminate()
        await process.wait()
