"""Webhooks: deliver signed events, on a schedule kept in the database."""
