"""Child processes that end with their parent.

No Python code runs between fork and exec, where a lock held by another thread would hang the child forever. Instead
this file runs as a program: it asks the kernel for a signal, checks that its parent is alive, and becomes the command.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

RUN_MODULE = (sys.executable, "-P", "-m")
"""Start of a command that runs a module. -P: a file queue.py in the user's folder must not shadow the library's."""
_PR_SET_PDEATHSIG = 1
_NOT_FOUND, _NOT_RUN = 127, 126
"""Exit codes, as a shell's."""


def bound_to_parent(command: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return a command that becomes `command` and gets SIGTERM when the calling thread's process is killed.

    Start it without a `preexec_fn`. It adds 20 ms and needs the standard library only (-I, -S).
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *map(str, command)]


def end_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed; on other systems it keeps running."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def become(command: list[str], *, parent: int) -> int:
    """Replace this process with `command`, which ends with the process `parent`; return an exit code if that fails."""
    end_with_parent()
    if os.getppid() != parent:  # killed before the kernel was asked
        return 128 + signal.SIGTERM
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command is ours
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUN


_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

if __name__ == "__main__":
    sys.exit(become(sys.argv[2:], parent=int(sys.argv[1])))
