"""The back door: arq jobs and the process that runs them."""
