"""Uploads: converts a form, a bare CSV or JSON to a validated `Upload`."""
