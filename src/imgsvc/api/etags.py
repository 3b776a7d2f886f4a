"""Conditional requests (RFC 9110 §13.1.2)."""


def etag_matches(etag: str, if_none_match: str | None) -> bool:
    """Check that the client already has `etag`; compared weakly, because proxies that compress make tags weak."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return not tags.isdisjoint({etag, "*"})
