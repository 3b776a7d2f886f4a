"""A manifest: an upload's bytes to products and distinct image URLs, and the report that goes back."""
