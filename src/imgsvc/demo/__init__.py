"""`imgsvc demo`: the whole service shown on a sample catalogue."""
