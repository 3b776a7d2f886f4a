"""imgsvc: product catalogues in, compressed images out."""

__version__ = "0.1.0"
