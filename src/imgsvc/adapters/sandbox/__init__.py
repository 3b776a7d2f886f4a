"""The sandbox: child processes that decode images a worker crashed on."""
