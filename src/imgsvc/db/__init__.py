"""The truth: tables, every SQL statement, and the engine."""
