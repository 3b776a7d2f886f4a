"""The usual implementation: Flask accepts the CSV, and a Celery task processes it with requests and Pillow.

It runs in a separate virtual environment (environments.py); PEER_FOLDER and PEER_BROKER set its folder and broker.
"""

import csv
import io
import os
import sqlite3
import uuid
from pathlib import Path

import requests
from celery import Celery
from flask import Flask, jsonify, request
from PIL import Image

FOLDER = Path(os.environ["PEER_FOLDER"])
celery = Celery("flask_celery", broker=os.environ["PEER_BROKER"])
celery.conf.broker_connection_retry_on_startup = True
app = Flask(__name__)


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(FOLDER / "batches.db", timeout=30)
    connection.executescript(
        """
        CREATE TABLE IF NOT EXISTS request (id TEXT PRIMARY KEY, status TEXT, webhook_url TEXT);
        CREATE TABLE IF NOT EXISTS product (
            id INTEGER PRIMARY KEY, request_id TEXT, serial TEXT, name TEXT, input_urls TEXT, output_urls TEXT
        );
        """
    )
    return connection


@app.post("/upload")
def upload():
    rows = list(csv.DictReader(io.TextIOWrapper(request.files["file"].stream, encoding="utf-8")))
    request_id = str(uuid.uuid4())
    with database() as connection:
        connection.execute("INSERT INTO request VALUES (?, 'pending', ?)", (request_id, request.form["webhook_url"]))
        connection.executemany(
            "INSERT INTO product (request_id, serial, name, input_urls) VALUES (?, ?, ?, ?)",
            [(request_id, row["S. No."], row["Product Name"], row["Input Image Urls"]) for row in rows],
        )
    process_images.delay(request_id)
    return jsonify({"request_id": request_id}), 202


@celery.task
def process_images(request_id):
    connection = database()
    with connection:
        connection.execute("UPDATE request SET status = 'processing' WHERE id = ?", (request_id,))
    products = connection.execute("SELECT id, input_urls FROM product WHERE request_id = ?", (request_id,)).fetchall()
    for product_id, input_urls in products:
        output_urls = []
        for url in input_urls.split(","):
            response = requests.get(url.strip(), timeout=30)
            response.raise_for_status()
            image = Image.open(io.BytesIO(response.content)).convert("RGB")
            compressed = io.BytesIO()
            image.save(compressed, "JPEG", quality=50)
            name = f"{uuid.uuid4()}.jpg"
            (FOLDER / name).write_bytes(compressed.getvalue())
            output_urls.append(f"http://127.0.0.1/media/{name}")
        with connection:
            connection.execute("UPDATE product SET output_urls = ? WHERE id = ?", (",".join(output_urls), product_id))
    with connection:
        connection.execute("UPDATE request SET status = 'completed' WHERE id = ?", (request_id,))
    (webhook_url,) = connection.execute("SELECT webhook_url FROM request WHERE id = ?", (request_id,)).fetchone()
    requests.post(webhook_url, json={"data": {"id": request_id}}, timeout=30)
