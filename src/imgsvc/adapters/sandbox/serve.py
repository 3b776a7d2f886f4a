"""The loop of a child of the sandbox: one request after another from the process that started it.

It sends a message before it begins the work: if it dies after that, the work is the cause. It does not try to survive:
any failure ends it, and its parent starts another child.
"""

import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from imgsvc.adapters.sandbox.framing import frame, read_frame
from imgsvc.process.child_process import end_with_parent

OUT_OF_MEMORY = 3
"""Exit code when the work needs more memory than the child may have."""
CRASHES = frozenset(
    -number
    for number in (
        signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS,
        signal.SIGXCPU,
    )
)  # fmt: skip
"""Exit codes of a process that crashed. Any other signal was sent from outside: by a service manager that stops the
whole group, by the kernel when the machine is out of memory, or by an operator."""

Respond = Callable[..., None]
"""Sends a message: a JSON object, and any number of raw bodies."""


def serve(work: Callable[[dict[str, Any], bytes, Respond], None], *, memory: int, seconds: float) -> None:
    """Call `work` with each request, its body and a function that responds, until the parent closes the pipe.

    `memory` is the address space in bytes, `seconds` the CPU time of one request.
    """
    end_with_parent()
    # Libraries print to standard output, which carries the messages to the parent.
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)  # a core file would be a gigabyte with a user's data in it
    with suppress(EOFError):  # the parent has ended, or no longer needs this process
        while True:
            request, data = read_frame(sys.stdin.buffer)
            _send(responses, {"started": True})
            used = resource.getrusage(resource.RUSAGE_SELF)
            _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds))
            work(request, data, lambda head, *bodies: _send(responses, head, *bodies))
            del data


def out_of_memory() -> None:
    """End this process; a normal exit would close the pipe before the exit code is set."""
    os._exit(OUT_OF_MEMORY)


def _send(responses: BinaryIO, head: dict[str, Any], *bodies: bytes) -> None:
    responses.write(frame(head, sum(map(len, bodies))))
    responses.writelines(bodies)
    responses.flush()


def _limit(which: int, amount: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard not in (resource.RLIM_INFINITY, -1):
        amount = min(amount, hard)
    with suppress(ValueError):  # macOS has no limit on address space
        resource.setrlimit(which, (amount, hard))
