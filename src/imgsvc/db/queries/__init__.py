"""Every SQL statement, by table: the session comes first, nothing here commits."""
