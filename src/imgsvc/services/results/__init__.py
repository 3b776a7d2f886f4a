"""Results: output.csv, failures.csv and archive.zip, streamed."""
