"""Readers that account for every byte of an image file, one for each format whose originals may be returned."""
