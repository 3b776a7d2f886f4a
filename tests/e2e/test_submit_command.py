"""`imgsvc submit` and `imgsvc status`: against a running imgsvc, and against servers that refuse."""

import asyncio
import csv
import json
import os
import re
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from support.catalogues import HEADER, catalogue
from support.command import imgsvc
from support.origin_server import OriginServer, Server, image_bytes
from support.stack import Stack, free_port, until


@dataclass
class FixedServer(Server):
    """A server that sends the same response to every request."""

    status: int = 200
    body: str = ""
    content_type: str = "text/html"

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.route("*", "/{any:.*}", self._respond)]

    async def _respond(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status, text=self.body, content_type=self.content_type)


# -- a running imgsvc -------------------------------------------------------------------------------------------------


async def test_submit_uploads_a_catalogue_and_downloads_its_csv(
    stack: Stack, origin: OriginServer, tmp_path: Path
) -> None:
    urls = [origin.serve(f"/{number}.jpg", image_bytes(600, 400)) for number in range(3)]
    done = await imgsvc(
        *("submit", catalogue(tmp_path, *urls), "--wait", "--output", "out.csv", "--max-width", "100"), cwd=tmp_path,
        IMGSVC_URL=str(stack.client.base_url),
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "3 products, 3 images" in done.out
    assert "completed: 3 of 3 images compressed" in done.out
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [bool(row["Output Image Urls"]) for row in rows] == [True] * 3
    assert not list(tmp_path.glob(".*.part"))
    rendition = (await stack.client.get(rows[0]["Output Image Urls"])).content
    assert len(rendition) < len(image_bytes(600, 400))


async def test_failed_images_are_counted_and_set_exit_code_3(
    stack: Stack, origin: OriginServer, tmp_path: Path
) -> None:
    good, bad = origin.serve("/a.jpg", image_bytes(600, 400)), origin.url("/status/404")
    done = await imgsvc(
        "submit", catalogue(tmp_path, good, bad), "--wait", cwd=tmp_path, IMGSVC_DATA_DIR=str(stack.folder)
    )  # finds the server of this data folder
    assert done.code == 3
    assert "completed_with_errors: 1 of 2 images compressed" in done.out
    assert "http_404 × 1" in done.out
    assert f"Result: {stack.client.base_url}/v1/batches/" in done.out


async def test_submit_without_wait_prints_the_id_and_status_shows_the_result(
    stack: Stack, origin: OriginServer, tmp_path: Path
) -> None:
    done = await imgsvc(
        "submit",
        catalogue(tmp_path, origin.serve("/a.jpg", image_bytes(600, 400))),
        cwd=tmp_path,
        IMGSVC_DATA_DIR=str(stack.folder),
    )
    batch_id = done.out.strip()
    assert (done.code, len(batch_id.split())) == (0, 1)
    await stack.finished(batch_id)
    status = await imgsvc("status", batch_id, cwd=tmp_path, IMGSVC_DATA_DIR=str(stack.folder))
    assert status.code == 0
    assert "completed: 1 of 1 images compressed" in status.out
    assert f"/v1/batches/{batch_id}/output.csv" in status.out


async def test_a_refusal_is_printed_with_one_line_per_problem(stack: Stack, tmp_path: Path) -> None:
    """One sentence, and a line per problem if there are several."""

    async def error_lines(*words: str) -> list[str]:
        done = await imgsvc(*words, cwd=tmp_path, IMGSVC_DATA_DIR=str(stack.folder))
        assert (done.code, done.out, "Traceback" in done.err) == (1, "", False)
        return done.err.splitlines()

    first, *others = await error_lines("submit", catalogue(tmp_path, "ftp://x/a.jpg", "http:///b.jpg"))
    assert first.startswith("The catalogue was rejected")
    assert [line.split(":")[0].strip() for line in others] == ["line 2", "line 3"]

    [line] = await error_lines("submit", catalogue(tmp_path, "ftp://x/a.jpg"))
    assert "line 2" in line

    [line] = await error_lines("submit", catalogue(tmp_path, "http://x/a.jpg"), "--quality", "96")
    assert "quality" in line

    unknown = "bat_01m81syxdvn0cchm7jgbq1vyb2"
    assert await error_lines("status", unknown) == [f"There is no batch {unknown}."]


# -- no imgsvc, or one that refuses -----------------------------------------------------------------------------------


async def test_an_unreachable_server_is_reported_in_one_line_with_advice(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = await imgsvc("submit", catalogue(tmp_path, "http://x/a.jpg"), "--url", url, cwd=tmp_path)
    assert done.code == 1
    [line] = done.err.splitlines()
    assert line.startswith(f"No imgsvc answers at {url} (")
    assert "imgsvc up" in line
    assert "IMGSVC_URL" in line


async def test_a_refused_key_is_reported_in_one_line(tmp_path: Path) -> None:
    problem = json.dumps({"title": "Unknown API key", "status": 401, "detail": "This API key is not known."})
    async with FixedServer(status=401, body=problem, content_type="application/problem+json") as server:
        done = await imgsvc("status", "bat_x", "--url", server.url(""), "--api-key", "sk_1", cwd=tmp_path)
        assert server.requests[0].headers["Authorization"] == "Bearer sk_1"
    assert done.code == 1
    assert done.err.splitlines() == ["The server refuses the API key (IMGSVC_API_KEY): This API key is not known."]


async def test_another_program_at_the_url_is_reported_in_one_line(tmp_path: Path) -> None:
    async with FixedServer(body="<h1>It works!</h1>") as server:
        done = await imgsvc("status", "bat_x", "--url", server.url(""), cwd=tmp_path)
    assert done.code == 1
    assert done.err.splitlines() == [f"The server at {server.url('')} is not an imgsvc."]


async def test_an_error_page_of_a_proxy_is_reported_in_one_line(tmp_path: Path) -> None:
    async with FixedServer(status=502, body="<h1>Bad gateway</h1>") as server:
        done = await imgsvc("status", "bat_x", "--url", server.url(""), cwd=tmp_path)
    assert done.code == 1
    assert done.err.splitlines() == ["The server answered HTTP 502."]


async def test_an_invalid_url_is_reported_in_one_line(tmp_path: Path) -> None:
    done = await imgsvc("status", "bat_x", "--url", "localhost:8000", cwd=tmp_path)
    assert done.code == 1
    [line] = done.err.splitlines()
    assert line.startswith("No imgsvc answers at localhost:8000 (")


async def test_a_missing_file_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    done = await imgsvc("submit", "nothing.csv", cwd=tmp_path)
    assert done.code == 2
    assert "nothing.csv" in done.err


@pytest.mark.parametrize("output", ["-", "nofolder/out.csv", "."])
async def test_an_unwritable_output_is_refused_before_anything_is_sent(tmp_path: Path, output: str) -> None:
    async with FixedServer() as server:
        done = await imgsvc(
            "submit", catalogue(tmp_path, "x"), "--output", output, "--url", server.url(""), cwd=tmp_path
        )
        assert server.requests == []
    assert done.code == 2
    assert "Traceback" not in done.err


async def test_untrusted_text_cannot_control_the_terminal(tmp_path: Path) -> None:
    """This covers escape sequences and the markup of our own output."""
    text = "\x1b]0;owned\x07\x1b[31m [bold]red[/bold] [/nothing]"
    problem = json.dumps({"detail": text, "errors_total": 2, "errors": [{"detail": text, "value": text}] * 2})
    async with FixedServer(status=422, body=problem, content_type="application/problem+json") as server:
        done = await imgsvc("submit", catalogue(tmp_path, "x"), "--url", server.url(""), cwd=tmp_path)
    assert done.code == 1
    assert "\x1b" not in done.err
    assert done.err.count("[bold]red[/bold] [/nothing]") == 1 + 2 * 2


async def test_a_csv_from_a_pipe_is_sent_completely(tmp_path: Path) -> None:
    async with FixedServer(status=422, body="{}", content_type="application/problem+json") as server:
        os.mkfifo(tmp_path / "pipe.csv")
        command = asyncio.create_task(imgsvc("submit", "pipe.csv", "--url", server.url(""), cwd=tmp_path))
        await asyncio.to_thread((tmp_path / "pipe.csv").write_text, HEADER * 1000)
        assert (await command).code == 1
        assert server.requests[0].body.count(HEADER.encode()) == 1000


async def test_the_url_of_the_server_may_be_in_the_env_file(tmp_path: Path) -> None:
    async with FixedServer(status=401, body="{}") as server:
        (tmp_path / ".env").write_text(f"IMGSVC_URL={server.url('')}\nIMGSVC_API_KEY=sk_2\n")
        await imgsvc("status", "bat_x", cwd=tmp_path)
        assert server.requests[0].headers["Authorization"] == "Bearer sk_2"


async def test_an_interrupted_wait_reports_that_the_batch_continues(
    stack: Stack, origin: OriginServer, tmp_path: Path
) -> None:
    may_send = asyncio.Event()
    url = origin.serve("/slow.jpg", image_bytes(), wait=may_send.wait)

    async def polls() -> float:
        text = (await stack.client.get("/metrics")).text
        return sum(float(count) for count in re.findall(r'_count{.*operation="get_batch".*} (\S+)', text))

    before = await polls()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", "submit", catalogue(tmp_path, url), "--wait"), cwd=tmp_path,
        env={**os.environ, "IMGSVC_DATA_DIR": str(stack.folder)}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def is_waiting() -> bool:
        """Return whether the command has read the batch once."""
        return await polls() > before

    await until(is_waiting)
    process.send_signal(signal.SIGINT)
    _, messages = await asyncio.wait_for(process.communicate(), 60)
    may_send.set()
    assert process.returncode == 130
    batch_id = re.search(r"`imgsvc status (bat_\w+)`", messages.decode()).group(1)  # type: ignore[union-attr]
    assert (await stack.finished(batch_id))["status"] == "completed"
