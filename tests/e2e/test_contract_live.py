"""A running imgsvc with API keys against generated requests: no internal error, and no undocumented response."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from support.stack import running_stack, until

pytestmark = pytest.mark.slow

# The schemas of a CSV and of a URL are only `string`: text that they allow may be refused.
BEYOND_SCHEMAS = "positive_data_acceptance"
SECONDS = 12


@pytest.mark.timeout(240)
async def test_generated_requests_get_only_documented_responses(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with running_stack(tmp_path, log=log, IMGSVC_UPLOADS_PER_MINUTE="1000000") as stack:
        keys = await _run("-m", "imgsvc", "keys", "create", "fuzz", IMGSVC_DATA_DIR=str(tmp_path))
        token = re.search(r"isk_\w+", keys)
        assert token

        async def key_is_required() -> bool:
            return (await stack.client.get("/v1/batches/bat_none")).status_code == 401

        await until(key_is_required)
        report = await _run(
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
        assert "Tested: 21" in report, report
        assert "Failures:" not in report, report
    log_text = log.read_text(encoding="utf-8")
    assert "unhandled_error" not in log_text
    assert token[0] not in log_text


async def _run(*arguments: str, **environment: str) -> str:
    """Run a Python program and return its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 200)
    return output.decode()
