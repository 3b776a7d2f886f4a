"""Conditional requests (RFC 9110 §13.1.2)."""


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the client already has `etag`; compared weakly, as proxies that compress make tags weak."""
    given = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return not given.isdisjoint({etag, "*"})
