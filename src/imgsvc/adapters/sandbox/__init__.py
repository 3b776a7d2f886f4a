"""The sandbox: child processes for what may crash: images, and files whose bytes others chose."""
