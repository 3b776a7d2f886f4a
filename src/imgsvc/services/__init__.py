"""The verbs of imgsvc. They import neither FastAPI nor arq nor httpx."""
