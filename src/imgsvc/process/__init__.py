"""Processes of this machine: supervise children, lock the data folder, listen."""
