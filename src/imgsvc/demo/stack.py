"""The demo's imgsvc: `imgsvc up` as a user would start it, on a free port, with a data folder of its own."""

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

START_WITHIN = 60.0
STOP_WITHIN = 40.0
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Stack:
    """An imgsvc that is coming up or is there already."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_until_ready(self) -> None:
        """Return when uploads are accepted and a worker is there.

        Raises:
            StartupError: it ended, or did not come up in time.
        """
        deadline = monotonic() + START_WITHIN
        while not _is_ready(self.url):
            if self.process.poll() is not None or monotonic() > deadline:
                last = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise StartupError(f"imgsvc did not come up: {last} (all of it: {self.log})")
            sleep(_POLL)


@contextmanager
def running_stack(folder: Path, *, secret: str, log: Path) -> Iterator[Stack]:
    """An imgsvc that keeps its data in `folder`, calls loopback only, and signs webhooks with `secret`.

    It knows no setting of the user's, so that the demo never touches a real database.
    """
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    environment |= {"IMGSVC_ALLOWED_NETWORKS": "127.0.0.1/32", "IMGSVC_WEBHOOK_SECRET": secret}
    folder.mkdir(parents=True)
    with listen("127.0.0.1", 0) as listener, log.open("wb") as output:
        descriptor = listener.fileno()
        process = subprocess.Popen(  # noqa: S603  # ourselves
            bound_to_parent([*RUN_MODULE, "imgsvc", "up", "--data-dir", str(folder), "--fd", str(descriptor)]),
            env=environment,
            cwd=folder,  # no .env of the user's either
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops the rest
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
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
