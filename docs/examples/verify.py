"""Verify that a webhook comes from imgsvc, unchanged and recent, and print its type.

WEBHOOK_SECRET=whsec_… python verify.py ID TIMESTAMP SIGNATURE < body.json
"""

import os
import sys

from standardwebhooks import Webhook, WebhookVerificationError

webhook_id, timestamp, signature = sys.argv[1:]
headers = {"webhook-id": webhook_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
body = sys.stdin.buffer.read()  # the bytes as received: JSON that was parsed and written again has another signature
try:
    event = Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, headers)
except WebhookVerificationError as error:
    sys.exit(f"refused: {error}")
sys.stdout.write(f"{event['type']}\n")
