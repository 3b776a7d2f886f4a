"""Results: output.csv, failures.csv, checks.csv and archive.zip, all streamed."""
