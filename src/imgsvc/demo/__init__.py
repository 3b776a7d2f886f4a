"""`imgsvc demo`: the whole service on a sample catalogue."""
