"""Is this webhook from imgsvc, whole and fresh? Its type if so.

WEBHOOK_SECRET=whsec_… python verify.py ID TIMESTAMP SIGNATURE < body.json
"""

import os
import sys

from standardwebhooks import Webhook, WebhookVerificationError

webhook_id, timestamp, signature = sys.argv[1:]
headers = {"webhook-id": webhook_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
body = sys.stdin.buffer.read()  # the bytes as they came: JSON that was read and written again is signed differently
try:
    event = Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, headers)
except WebhookVerificationError as error:
    sys.exit(f"refused: {error}")
sys.stdout.write(f"{event['type']}\n")
