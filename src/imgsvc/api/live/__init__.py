"""Live progress: long polls and server-sent events."""
