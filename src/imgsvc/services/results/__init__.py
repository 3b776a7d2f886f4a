"""Results: output.csv, failures.csv and archive.zip, all streamed."""
