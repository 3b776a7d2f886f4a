"""Headers that keep a browser from making more of an answer than it is."""

import re
from base64 import b64encode
from hashlib import sha256

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
ALWAYS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
ANSWER = {
    **ALWAYS,
    # Nothing in it is ever run; the style is the one with which browsers show a bare image.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
}
"""Of what is no page."""
PAGE = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class BrowserHeaders:
    """Every answer gets them; our own pages (the docs) may run their own scripts, told apart by their hashes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: list[Message] = []  # the start of a page, until its scripts are known

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.update(ALWAYS)
                    held.append(message)
                    return
                headers.update(ANSWER)
            elif held:
                held.append(message)
                if message.get("more_body"):
                    return
                await _send_page(held, send)
                return
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def _send_page(messages: list[Message], send: Send) -> None:
    page = b"".join(message.get("body", b"") for message in messages)
    hashes = (b64encode(sha256(script).digest()).decode() for script in INLINE_SCRIPT.findall(page))
    scripts = "".join(f" 'sha256-{digest}'" for digest in hashes)
    MutableHeaders(scope=messages[0])["Content-Security-Policy"] = PAGE.format(scripts=scripts)
    for message in messages:
        await send(message)
