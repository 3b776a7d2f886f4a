"""This process's limit on open files and sockets."""

import resource
from contextlib import suppress

CEILING = 2**20
"""The soft limit to set where the hard limit is infinite or larger."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one: most systems start programs with 1,024, fewer than connections alone need.

    Child processes inherit it. If the system refuses, the limit stays as it is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CEILING if hard == resource.RLIM_INFINITY else min(hard, CEILING)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """Return how many descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CEILING if soft == resource.RLIM_INFINITY else soft
