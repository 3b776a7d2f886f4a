"""Terminal output for people."""
