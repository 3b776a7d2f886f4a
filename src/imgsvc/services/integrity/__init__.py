"""Integrity: compare counters, rows, deliveries and files."""
