"""Storage: a local disk or an object store."""
