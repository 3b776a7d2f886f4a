"""A worker process that starts while its storage is unavailable."""

import asyncio
import json
import os
import sys
from pathlib import Path


async def test_a_worker_without_storage_logs_one_line_and_exits_to_be_restarted(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file instead of the folder")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "imgsvc.worker"),
        cwd=tmp_path,
        env={**os.environ, "IMGSVC_DATA_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    [line] = output.decode().splitlines()
    assert json.loads(line)["event"] == "cannot_start"
    assert str(tmp_path) in json.loads(line)["error"]
    assert process.returncode == 1
