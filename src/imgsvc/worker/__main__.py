"""Entry point of `python -m imgsvc.worker`, the process that `imgsvc worker` and `imgsvc up` supervise."""

from imgsvc.worker.main import main

main()
