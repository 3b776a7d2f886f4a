"""Throttling: fair semaphores, and a limit for each host."""
