"""Errors as RFC 9457 problem details: the only place that maps errors to HTTP statuses."""
