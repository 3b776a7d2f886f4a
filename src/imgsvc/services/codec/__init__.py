"""The codec: the thread pool in which images are decoded and encoded."""
