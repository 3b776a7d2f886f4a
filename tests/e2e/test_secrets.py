"""Secrets appear neither in the logs of a whole run nor in responses to others."""

import asyncio
import json
import re
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.stack import running_stack, until

CSV = "S. No.,Product Name,Input Image Urls\n1,Shoe,{}\n2,Hat,{}\n"


async def imgsvc(folder: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", *arguments),
        env={"IMGSVC_DATA_DIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output
    return output.decode()


@pytest.mark.slow
async def test_no_log_and_no_command_line_contains_a_secret(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with (
        OriginServer() as origin,
        WebhookListener() as listener,
        running_stack(tmp_path, log=log, IMGSVC_LOG_LEVEL="DEBUG", PYTHONASYNCIODEBUG="") as stack,
    ):
        created = await imgsvc(tmp_path, "keys", "create", "the shop")
        token, key_id = (re.search(pattern, created)[0] for pattern in (r"isk_\w+", r"key_\w+"))  # type: ignore[index]
        secret = re.search(r"whsec_\S+", await imgsvc(tmp_path, "keys", "secret", key_id))[0]  # type: ignore[index]
        signed = origin.serve("/a.jpg?X-Amz-Signature=presigned0", image_bytes(300, 200))
        missing = origin.url("/b.jpg?X-Amz-Signature=presigned1")
        fields = {"webhook_url": listener.url("/hook?token=of-the-listener")}
        stack.client.headers["Authorization"] = f"Bearer {token}"

        async def batch_id() -> str:
            file = {"file": ("shop.csv", CSV.format(signed, missing))}
            answer = await stack.client.post("/v1/batches", files=file, data=fields)
            return str(answer.json()["id"]) if answer.status_code == 202 else ""

        finished = await stack.finished(await until(batch_id))
        assert finished["counts"]["assets"]["succeeded"] == 1
        stranger = httpx.AsyncClient(base_url=stack.client.base_url, trust_env=False)
        async with stranger:
            for authorization in (
                f"Bearer {token[:-1]}",
                f"bearer x{token}",
                f"Basic {token}",
                "Bearer " + "x" * 5_000,
            ):
                refused = await stranger.get(f"/v1/batches/{finished['id']}", headers={"Authorization": authorization})
                assert refused.status_code == 401
                assert token not in refused.text
            assert (await stranger.get("/docs?token=" + token)).status_code == 200
            ready = (await stranger.get("/readyz")).text
            assert str(tmp_path) not in ready
            assert "unix:" not in ready

        async def is_delivered() -> bool:
            return bool(listener.requests)

        await until(is_delivered)
        link = json.loads(listener.requests[0].body)["data"]["output_csv_url"]
        async with httpx.AsyncClient(trust_env=False) as reader:
            assert (await reader.get(link)).status_code == 200
        signature = re.search(r"signature=([\w-]+)", link)[1]  # type: ignore[index]
        processes = [psutil.Process(stack.process.pid), *stack.children()]
        commands = " ".join(word for process in processes for word in process.cmdline())
        tested = (await stack.client.post("/v1/webhooks/test", json={"url": listener.url("/hook")})).text
    log_text = log.read_text(encoding="utf-8")
    assert "batch_ended" in log_text
    for hidden in (token, secret, secret.removeprefix("whsec_"), signature, "presigned", "of-the-listener"):
        assert hidden not in log_text
        assert hidden not in commands
    assert secret not in tested
