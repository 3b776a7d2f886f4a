"""Batches: read, cancel, retry, finish and delete."""
