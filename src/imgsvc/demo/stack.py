"""The imgsvc of the demo: `imgsvc up` as a user starts it, on a free port, with its own data folder."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx

from imgsvc.errors import StartupError
from imgsvc.process.child_process import RUN_MODULE, bound_to_parent
from imgsvc.process.listen_socket import listen
from imgsvc.settings.client import PREFIX

START_TIMEOUT = 60.0
STOP_TIMEOUT = 40.0
_POLL_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Stack:
    """A running imgsvc, or one that is still starting; its output is written to `log`."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_until_ready(self) -> None:
        """Wait until uploads are accepted and a worker runs.

        Raises:
            StartupError: the process exited, or was not ready within `START_TIMEOUT` seconds.
        """
        deadline = monotonic() + START_TIMEOUT
        while not _is_ready(self.url):
            if self.process.poll() is not None or monotonic() > deadline:
                last_line = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise StartupError(f"imgsvc did not start: {last_line} (full log: {self.log})")
            sleep(_POLL_INTERVAL)


@contextmanager
def running_stack(folder: Path, *, secret: str, log: Path) -> Iterator[Stack]:
    """Run an imgsvc that keeps its data in `folder`, calls loopback only, and signs webhooks with `secret`.

    It ignores the user's settings, so that the demo never touches a real database.
    """
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    environment |= {"IMGSVC_ALLOWED_NETWORKS": "127.0.0.1/32", "IMGSVC_WEBHOOK_SECRET": secret}
    folder.mkdir(parents=True)
    with listen("127.0.0.1", 0) as listener, log.open("wb") as output:
        descriptor = listener.fileno()
        process = subprocess.Popen(  # noqa: S603  # our own command
            bound_to_parent([*RUN_MODULE, "imgsvc", "up", "--data-dir", str(folder), "--fd", str(descriptor)]),
            env=environment,
            cwd=folder,  # so that a .env of the user is not read
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C interrupts the demo only, which then stops the rest
        )
        try:
            yield Stack(f"http://127.0.0.1:{listener.getsockname()[1]}", process, log)
        finally:
            _stop(process)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", params={"strict": "true"}, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
