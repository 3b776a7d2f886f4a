"""Storage of renditions: a local folder or an object store; `open_storage` chooses."""
