"""A running imgsvc with keys against made-up requests: no fault of ours, and no answer that is not documented."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from support.stack import running_stack, until

pytestmark = pytest.mark.slow

# A CSV and an address are more than their schemas say: text that the schema allows may be refused.
BEYOND_SCHEMAS = "positive_data_acceptance"
SECONDS = 12


@pytest.mark.timeout(240)
async def test_whatever_is_sent_the_answers_are_as_documented(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with running_stack(tmp_path, log=log, IMGSVC_UPLOADS_PER_MINUTE="1000000") as stack:
        keys = await _run("-m", "imgsvc", "keys", "create", "made up", IMGSVC_DATA_DIR=str(tmp_path))
        token = re.search(r"isk_\w+", keys)
        assert token

        async def is_closed() -> bool:
            return (await stack.client.get("/v1/batches/bat_none")).status_code == 401

        await until(is_closed)
        told = await _run(
            *("-m", "schemathesis.cli", "run", f"{stack.client.base_url}/openapi.json"),
            *("-H", f"Authorization: Bearer {token[0]}", "--checks", "all", "--exclude-checks", BEYOND_SCHEMAS),
            *(
                "--generation-deterministic",
                "--max-time",
                str(SECONDS),
                "--request-timeout",
                "30",
                "--no-color",
                "--warnings",
                "off",
            ),
        )
        assert "Tested: 18" in told, told
        assert "Failures:" not in told, told
    said = log.read_text(encoding="utf-8")
    assert "unhandled_error" not in said
    assert token[0] not in said


async def _run(*arguments: str, **environment: str) -> str:
    """What it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 200)
    return said.decode()
