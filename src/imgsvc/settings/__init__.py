"""All settings of the service and of the client commands."""
