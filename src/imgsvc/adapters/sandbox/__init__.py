"""The sandbox: child processes for images that may crash a worker."""
