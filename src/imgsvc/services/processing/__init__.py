"""Processing: lanes claim assets, fetch and compress them, and flush the results."""
