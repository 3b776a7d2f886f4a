"""All SQL statements, by table. The functions take the session first and do not commit."""
