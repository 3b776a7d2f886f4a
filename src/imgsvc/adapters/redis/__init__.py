"""Redis: the queues of arq, rate limits, and the embedded Valkey."""
