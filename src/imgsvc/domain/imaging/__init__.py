"""Images: bytes and a spec to a compressed rendition."""
