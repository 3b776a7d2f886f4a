"""The codec: a thread pool that decodes and encodes images, and a sandbox for images that might crash it."""
