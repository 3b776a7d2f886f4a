"""Outgoing HTTP: fetch images and post webhooks, to addresses that may be called."""
