"""The JSON that the API returns."""
