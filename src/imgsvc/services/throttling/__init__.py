"""Throttling: fair semaphores, and a limit and a rate for each host."""
