"""Local processes: supervise children, lock the data folder, open the listening socket."""
