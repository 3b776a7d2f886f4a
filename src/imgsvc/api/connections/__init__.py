"""Client connections: accept, count and close them."""
