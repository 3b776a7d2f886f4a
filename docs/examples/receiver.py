"""A receiver that handles each event once, however often it arrives.

WEBHOOK_SECRET=whsec_… python receiver.py 9000
"""

import http.server
import os
import sqlite3
import sys

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
database = sqlite3.connect("shop.db")
database.execute("CREATE TABLE IF NOT EXISTS seen (webhook_id TEXT PRIMARY KEY)")
database.execute("CREATE TABLE IF NOT EXISTS ended (batch_id TEXT, status TEXT)")


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(self.handle_event())
        self.end_headers()

    def handle_event(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > 65_536:  # the longest event is shorter than 20 kB
            return 413
        try:
            event = webhook.verify(self.rfile.read(length), dict(self.headers))
        except WebhookVerificationError:
            return 400
        with database:  # one transaction stores the id and the work together, or neither
            new = database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (self.headers["webhook-id"],)).rowcount
            if new and event["type"] != "webhook.test":
                data = event["data"]
                database.execute("INSERT INTO ended VALUES (?, ?)", (data["id"], data["status"]))
        return 204  # for repeats as well: they have been handled


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
