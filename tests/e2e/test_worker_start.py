"""A worker process that is started while a part is away."""

import asyncio
import json
import os
import sys
from pathlib import Path


async def test_a_worker_without_its_storage_says_so_in_one_line_and_ends_to_be_started_again(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file stands where the folder was")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "imgsvc.worker"),
        cwd=tmp_path,
        env={**os.environ, "IMGSVC_DATA_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    [line] = said.decode().splitlines()
    assert json.loads(line)["event"] == "cannot_start"
    assert str(tmp_path) in json.loads(line)["error"]
    assert process.returncode == 1
