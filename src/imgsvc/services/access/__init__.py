"""Access: API keys, webhook secrets and signed links."""
