"""The format of the log: readable on a terminal, JSON elsewhere."""

import json
import os
import pty
import re
import subprocess
import sys

SCRIPT = """
import structlog
from imgsvc.logs import configure_logging, get_logger
configure_logging("INFO")
log = get_logger("imgsvc.test")
with structlog.contextvars.bound_contextvars(job_id="bat_1:0", request_id="req_1"):
    log.info("batch_ended", batch_id="bat_1", filename="Größe.csv", errors={"http_404": 2}, seconds=1.5)
    log.debug("not_shown")
    try:
        raise ValueError("a reason")
    except ValueError:
        log.exception("job_failed")
"""


def on_a_terminal() -> str:
    """Return the output of the script on a terminal, without colours."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed
            part = b""
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", written.decode()).replace("\r\n", "\n")


def in_a_pipe() -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_without_a_terminal_each_event_is_one_json_line() -> None:
    ended, broke = map(json.loads, in_a_pipe())
    assert ended.pop("timestamp").endswith("Z")
    assert ended == {
        "event": "batch_ended", "level": "info", "batch_id": "bat_1", "filename": "Größe.csv",
        "errors": {"http_404": 2}, "seconds": 1.5, "job_id": "bat_1:0", "request_id": "req_1",
    }  # fmt: skip
    assert "ValueError: a reason" in broke["exception"]


def test_on_a_terminal_a_line_begins_with_the_time_and_leaves_out_ids() -> None:
    ended, broke, *trace = on_a_terminal().splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d \[info +\] batch_ended +batch_id=bat_1 filename=Größe.csv "
        r"errors=\{'http_404': 2\} seconds=1.5",
        ended,
    )
    assert "job_id=bat_1:0" in broke  # it is an error: now it helps
    assert trace[-1] == "ValueError: a reason"
