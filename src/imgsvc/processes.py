"""What every process of ours has to do with the one that started it."""

import ctypes
import signal
import sys

OURSELVES = (sys.executable, "-P", "-m")
"""Begins a command that runs a module of ours. -P: a file queue.py in the user's folder is not the library's."""
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Called in a new process: Linux ends it when its parent is killed; elsewhere it goes on by itself."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
