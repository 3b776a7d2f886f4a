"""Intake: read an upload, check quotas, store the batch."""
