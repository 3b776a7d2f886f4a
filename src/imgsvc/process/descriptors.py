"""The limit on open files and sockets of this process."""

import resource
from contextlib import suppress

CEILING = 2**20
"""Where the hard limit is no limit, or close to none."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one: most systems start programs with 1,024, which connections alone use up.

    Child processes inherit it. A system that refuses leaves the limit as it is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CEILING if hard == resource.RLIM_INFINITY else min(hard, CEILING)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """How many descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CEILING if soft == resource.RLIM_INFINITY else soft
