"""Uploads: form, bare CSV or JSON to a validated `Upload`."""
