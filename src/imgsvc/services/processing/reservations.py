"""How much memory a fetch reserves before any of its body has come."""

LARGEST = 2**20
"""Bytes; what a body has beyond them is reserved as it comes."""
UNCHANGED = 2**16
"""Bytes for a conditional fetch, whose body is not expected to come."""


def first_reservation(share: int, body_size: int, *, conditional: bool) -> int:
    """Return the bytes to reserve: the fetch's `share` of the memory, so that as many as allowed can be in flight.

    Where the host's bodies are larger (`body_size`; 0: unknown), as many as those, up to `LARGEST`: in a memory that is
    full, a body that outgrows its reservation is fetched again. With the share alone, 400 images of 639 KiB cost 500 to
    560 requests.
    """
    if conditional:
        return max(1, min(share, UNCHANGED))
    return max(1, min(max(share, body_size), LARGEST))
