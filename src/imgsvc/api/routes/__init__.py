"""The operations, by resource. Each reads its input, calls one service, and builds the response."""
