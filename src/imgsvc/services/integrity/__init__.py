"""Integrity: compare counters, rows, deliveries and stored files."""
