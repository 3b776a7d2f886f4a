"""Ask for the events that an endpoint missed: exhausted deliveries of batches created since a date.

IMGSVC_URL=https://images.shop.example IMGSVC_API_KEY=isk_… python reconcile.py 2026-11-16
"""

import os
import sys
import time

import httpx

since = sys.argv[1]
key = os.environ.get("IMGSVC_API_KEY")
imgsvc = httpx.Client(base_url=os.environ["IMGSVC_URL"], headers={"Authorization": f"Bearer {key}"} if key else {})


def call(method, path, **query):
    while True:
        answer = imgsvc.request(method, path, params=query)
        if answer.status_code not in (429, 503):
            return answer.raise_for_status().json()
        time.sleep(float(answer.headers.get("Retry-After", 5)))  # at most 30 redeliveries a minute


def batches():
    query = {"limit": 100}
    while query:
        page = call("GET", "/v1/batches", **query)
        for batch in page["data"]:  # newest first
            if batch["created_at"] < since:
                return
            yield batch
        query = page["has_more"] and {"limit": 100, "after": page["next"]}


for batch in batches():
    if batch["webhook"] and batch["webhook"]["status"] == "exhausted":
        newest, *_ = call("GET", f"/v1/batches/{batch['id']}/deliveries")["data"]
        call("POST", f"/v1/deliveries/{newest['id']}/redeliver")
        sys.stdout.write(f"{batch['id']} {newest['id']}\n")
