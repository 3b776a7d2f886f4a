"""The worker process and its arq jobs."""
