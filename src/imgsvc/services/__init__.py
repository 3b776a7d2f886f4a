"""The verbs: what imgsvc does, knowing neither FastAPI nor arq nor httpx."""
