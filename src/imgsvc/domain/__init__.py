"""The rules: pure and synchronous; no network, no clock, no settings."""
