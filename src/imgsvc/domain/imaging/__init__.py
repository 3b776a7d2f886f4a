"""Image compression: bytes and specs to renditions."""
