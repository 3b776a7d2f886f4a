"""The edges: one outside protocol each, its errors translated once."""
