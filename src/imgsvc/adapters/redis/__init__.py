"""Redis: arq's queues, rate limits, and the embedded Valkey."""
