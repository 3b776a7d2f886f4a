"""Every command of the README and of docs/http.md is run as it is written, by a shell, in a copy of the project.

Only the environment differs: the port, the origin of the example's images (on this machine, so that the first `make up`
has to allow it as well), and that `make` finds everything installed.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from support.command import find_command
from support.origin_server import OriginServer, image_bytes
from support.paths import DOCS, ROOT
from support.stack import SECRET, free_port, until

README = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", DOCS / "http.md"))
IMAGES = ("/id/29/1200/800.jpg", "/id/29/800/1200.jpg", "/id/30/1200/800.jpg")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return each command of the pages; a line that ends with a backslash is joined with the next."""
    return [line for block in blocks("sh") for line in block.replace("\\\n", "").splitlines() if line]


class Reader:
    """A reader who follows the pages in a copy of the project."""

    def __init__(self, folder: Path, environment: dict[str, str], replacements: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.replacements = replacements
        self.typed: list[str] = []

    def find(self, *words: str) -> str:
        """Return the only command that equals `words`, or that contains all of them."""
        exact = [command for command in commands() if command == " ".join(words)]
        [command] = exact or [command for command in commands() if all(word in command for word in words)]
        return command

    async def type(self, *words: str) -> str:
        """Run that command, which must succeed, and return its output."""
        command = self.find(*words)
        process = await self._start(command)
        out, err = await asyncio.wait_for(process.communicate(), 110)
        assert process.returncode == 0, f"{command}\n{err.decode()}"
        return out.decode()

    @asynccontextmanager
    async def typing(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run that command in the background, and end it as Ctrl-C does."""
        process = await self._start(self.find(*words))
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 60)

    def save(self, block: str, name: str) -> None:
        (self.folder / name).write_text(self._localized(block))

    async def _start(self, command: str) -> asyncio.subprocess.Process:
        self.typed.append(command)
        return await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", self._localized(command)),
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    def _localized(self, text: str) -> str:
        for original, local in self.replacements.items():
            text = text.replace(original, local)
        return text


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files that `make up` and `make demo` need, with the tests' virtual environment."""
    folder = tmp_path / "imgsvc"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "make").write_text(f'#!/bin/sh\nexec {shutil.which("make")} -o .venv/.runtime -o .venv/.dev "$@"\n')
    (programs / "make").chmod(0o755)
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    return folder


@pytest.fixture
def reader(project: Path, origin: OriginServer) -> Reader:
    for path in IMAGES:
        origin.serve(path, image_bytes(600, 400))
    port, listening = free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        "PATH": f"{project.parent / 'bin'}:{os.environ['PATH']}",
        "CURL_HOME": str(project),
        "IMGSVC_PORT": str(port),
        "COLUMNS": "200",
    }
    replacements = {
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "https://picsum.photos": origin.url(""),
        '("127.0.0.1", 9000)': f'("127.0.0.1", {listening})',
        "127.0.0.1:9000": f"127.0.0.1:{listening}",
    }
    return Reader(project, environment, replacements)


def ready(reader: Reader, *, strict: bool = True) -> Callable[[], Awaitable[bool]]:
    url = f"http://{reader.replacements['127.0.0.1:8000']}/readyz"

    async def probe() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
                return (await client.get(url, params={"strict": strict})).is_success
        except httpx.TransportError:
            return False

    return probe


def has_status(reader: Reader, status: int, **headers: str) -> Callable[[], Awaitable[bool]]:
    url = f"http://{reader.replacements['127.0.0.1:8000']}/v1/batches/bat_unknown"

    async def probe() -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            return (await client.get(url, headers=headers)).status_code == status

    return probe


async def final_status(reader: Reader, batch_id: str) -> str:
    """Wait for the end with the command of the README, and return the status."""
    reader.environment["BATCH"] = batch_id

    async def status_at_end() -> str:
        output = await reader.type("curl", "?wait=30")
        return re.search(r'"status":"(\w+)"', output).group(1) if '"finished_at":"' in output else ""  # type: ignore[union-attr]

    return str(await until(status_at_end))


def id_in(output: str) -> str:
    return re.search(r'"id":"(bat_\w+)"', output).group(1)  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_command_of_the_readme_works_in_order(reader: Reader, redis_url: str, origin: OriginServer) -> None:
    manifest, _, export = blocks("csv")
    [listener] = blocks("python")
    reader.save(manifest, "catalog.csv")
    reader.save(export, "products_export.csv")
    reader.save(listener, "listen.py")

    demo_output = await reader.type("make demo")
    assert "its signature is valid" in demo_output
    reader.environment["IMGSVC_ALLOWED_NETWORKS"] = "127.0.0.1/32"
    async with reader.typing("make up"):
        await until(ready(reader))
        submit_output = await reader.type("imgsvc submit catalog.csv")
        assert "completed: 3 of 3 images compressed" in submit_output
        report = reader.folder / "output.csv"
        submitted_csv = report.read_text(encoding="utf-8")
        assert submitted_csv.splitlines()[0] == manifest.splitlines()[0] + ",Output Image Urls"
        report.unlink()

        await download_results(reader, manifest, submitted_csv)
        batch_id = id_in(await reader.type("curl", "quality=70", "format=webp"))
        assert await final_status(reader, batch_id) == "completed"
        assert '"output_format":"webp"' in await reader.type("curl", "/products")
        assert await final_status(reader, id_in(await reader.type("curl", "renditions="))) == "completed"
        assert (await reader.type("curl", "/products")).count('"name":"thumb"') == 3
        assert await final_status(reader, id_in(await reader.type("curl", "--data-binary"))) == "completed"
        assert await final_status(reader, id_in(await reader.type("curl", '"products"'))) == "completed"
        assert '"object":"validation"' in await reader.type("curl", "validate_only")
        batch_id = id_in(await reader.type("curl", "Idempotency-Key"))
        assert id_in(await reader.type("curl", "Idempotency-Key")) == batch_id
        assert await final_status(reader, batch_id) == "completed"

        await shapes_names_and_exports(reader)
        await cancel_retry_delete(reader, origin)
        assert "ok  Workers" in await reader.type(".venv/bin/imgsvc check")
        await reader.type("imgsvc check --deep")

    del reader.environment["IMGSVC_ALLOWED_NETWORKS"]
    async with reader.typing("IMGSVC_ALLOWED_NETWORKS=127.0.0.1/32 make up"), reader.typing("listen.py") as listening:
        await until(ready(reader))
        assert listening.stdout
        await until(accepting(int(reader.replacements["127.0.0.1:9000"].rpartition(":")[2])))
        batch_id = id_in(await reader.type("curl", "webhook_url="))
        line = (await asyncio.wait_for(listening.stdout.readline(), 60)).decode()
        assert line.split()[0] == "batch.completed"
        assert batch_id in line
        reader.environment["BATCH"] = batch_id
        await until(prints(reader, "curl", "/deliveries", text='"status":"delivered"'))
        assert '"http_status":204' in await reader.type("curl", "/webhooks/test")

    reader.environment |= {"IMGSVC_REDIS_URL": redis_url, "IMGSVC_DATA_DIR": "separate"}
    await reader.type("db upgrade")
    async with reader.typing("imgsvc api"), reader.typing("imgsvc worker"):
        await until(ready(reader))
        await create_key(reader)

    assert set(commands()) - set(reader.typed) == {"make test", "make test-all"}  # these run this test


async def download_results(reader: Reader, manifest: str, submitted_csv: str) -> None:
    assert await final_status(reader, id_in(await reader.type("curl -F file=@catalog.csv http"))) == "completed"
    assert "event: end" in await reader.type("curl -N")
    await reader.type("curl -o output.csv")
    assert (
        (reader.folder / "output.csv").read_text(encoding="utf-8").count("/media/")
        == submitted_csv.count("/media/")
        == 3
    )
    assert (await reader.type("curl", "/products")).count('"status":"succeeded"') == 3
    await reader.type("curl -o images.zip")
    assert len(ZipFile(reader.folder / "images.zip").namelist()) == 3
    await reader.type("curl -o failures.csv")
    header = manifest.splitlines()[0]
    assert (reader.folder / "failures.csv").read_text(encoding="utf-8").strip() == f"{header},Error"
    await reader.type("curl -o checks.csv")
    assert (reader.folder / "checks.csv").read_text(encoding="utf-8").startswith("Serial Number,Product Name,")
    assert (await reader.type("curl", "limit=20")).count('"object":"batch"') == 2


async def shapes_names_and_exports(reader: Reader) -> None:
    """Use options of images, then submit the export of a shop in both ways: only its URLs are replaced."""
    for option in ("trim=true", "names="):
        assert await final_status(reader, id_in(await reader.type("curl", option))) == "completed"
    await reader.type("imgsvc submit products_export.csv")
    assert await final_status(reader, id_in(await reader.type("curl", "output=replace"))) == "completed"
    await reader.type("curl -o output.csv")
    url = re.compile(r"http://[^,\n]+")
    export, *imports = (
        (reader.folder / f"{name}.csv").read_bytes().decode()
        for name in ("products_export", "products_import", "output")
    )
    assert [url.sub("URL", text) for text in imports] == [url.sub("URL", export)] * 2
    assert [len(re.findall(r"http://[^,\n]+/media/", text)) for text in (export, *imports)] == [0, 3, 3]


async def create_key(reader: Reader) -> None:
    """Create the first key; from then on requests without one are refused."""
    token = re.search(r"isk_\w+", await reader.type("keys create"))
    assert token
    await until(has_status(reader, 401))
    await until(has_status(reader, 404, Authorization=f"Bearer {token[0]}"))


async def cancel_retry_delete(reader: Reader, origin: OriginServer) -> None:
    """Cancel a batch while an image hangs; retry and delete one whose image was missing."""
    origin.serve(IMAGES[0], image_bytes(600, 400), delay=60)
    reader.environment["BATCH"] = id_in(await reader.type("curl -F file=@catalog.csv http"))
    assert '"status":"cancelled"' in await reader.type("curl", "/cancel")

    origin.serve(IMAGES[0], b"", status=404)
    batch_id = id_in(await reader.type("curl -F file=@catalog.csv http"))
    assert await final_status(reader, batch_id) == "completed_with_errors"
    origin.serve(IMAGES[0], image_bytes(600, 400))
    retried = await reader.type("curl", "/retry")
    assert '"status":"pending"' in retried or '"status":"processing"' in retried  # a worker may have begun
    assert await final_status(reader, batch_id) == "completed"
    await reader.type("curl -X DELETE")


def prints(reader: Reader, *words: str, text: str) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return text in await reader.type(*words)

    return probe


def accepting(port: int) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    return probe


def test_ci_runs_the_test_commands_of_the_readme_and_they_cover_every_test() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert {"make test", "make test-all"} <= set(commands())
    assert script.splitlines()[-1] == "make test test-all"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # as outside of `make`
    done = subprocess.run(
        ["make", "-n", "test-all"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == ['.venv/bin/pytest -m "not slow"', ".venv/bin/pytest -m slow"]


def test_commands_mentioned_in_the_readme_exist() -> None:
    """This includes commands that the text only names, such as `imgsvc …` and `make …`."""
    words = re.findall(r"`(?:IMGSVC_\w+=\S+ )?(?:\.venv/bin/)?((?:imgsvc|make) [a-z-]+(?: [a-z]+)?)[^`]*`", README)
    assert {"make check", "imgsvc up"} <= set(words)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for program, word, *rest in map(str.split, words):
        if program == "make":
            assert word in targets, word
        else:
            assert find_command([word, *rest])[1] == []


def test_the_readme_contains_no_secret() -> None:
    assert SECRET not in README
    assert not re.search(r"whsec_[A-Za-z0-9+/]{16}", README)
