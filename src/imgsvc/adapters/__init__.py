"""Adapters: each package speaks one external protocol and translates its errors."""
