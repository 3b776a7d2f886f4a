"""Processing: lanes claim assets, fetch and compress their images, store the renditions, and flush the outcomes."""
