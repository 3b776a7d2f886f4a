"""The database: tables, all SQL statements, and the engine."""
