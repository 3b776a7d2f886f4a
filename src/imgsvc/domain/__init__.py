"""The rules: pure, synchronous functions without network, clock or settings."""
