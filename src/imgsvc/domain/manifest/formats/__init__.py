"""File formats of catalogues other than CSV: how each is recognised, read and written."""
