"""`python -m imgsvc.worker` is the process that `imgsvc worker` and `imgsvc up` supervise."""

from imgsvc.worker.main import main

main()
