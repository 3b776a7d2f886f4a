"""Health checks of an installation, for `imgsvc check`."""
