"""Manifests and reports: reads an upload into products and distinct image URLs, and writes the CSV that is returned."""
