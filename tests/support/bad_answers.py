"""The ways to misbehave, by kind, each with the error code it must end with."""

import gzip

from support.bad_origins import (
    Bad,
    head,
    never_reads,
    redirects,
    response,
    sends,
    then_drips,
    then_floods,
    then_half_closes,
    then_leaves,
    then_resets,
    then_stays,
)
from support.images import huge_png
from support.origin_server import image_bytes

HALF = image_bytes()[: len(image_bytes()) // 2]
OK = b"HTTP/1.1 200 OK\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = head(b"Transfer-Encoding: chunked")
BOMB = gzip.compress(bytes(20_000_000))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><rect width="9" height="9"/></svg>'
ERRORS = {401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 410: b"Gone", 418: b"I'm a teapot"} | {
    429: b"Too Many Requests", 500: b"Internal Server Error", 503: b"Service Unavailable"
}  # fmt: skip

HEADERS = (
    Bad("slow-status", "the status line a letter at a time", "total_timeout", then_drips(b"HTTP/1.1 200 ", b"O")),
    Bad("slow-headers", "a header a letter at a time", "total_timeout", then_drips(OK + b"X-Slow: ", b"s")),
    Bad("endless-status", "a status line without end", "connect_error", then_floods(b"HTTP/1.1 200 ", b"OK")),
    Bad("endless-header", "a header line without end", "connect_error", then_floods(OK + b"X: ", b"x")),
    Bad("endless-name", "the name of a header without end", "connect_error", then_floods(OK, b"x")),
    Bad("endless-headers", "headers without end", "connect_error", then_floods(OK, b"X-Y: z\r\n")),
    Bad("many-headers", "5,000 headers", "connect_error", sends(response(image_bytes(), *[b"X-Y: z"] * 5000))),
    Bad("many-cookies", "5,000 cookies", "connect_error", sends(response(image_bytes(), *[b"Set-Cookie: a=b"] * 5000))),
    Bad("large-header", "a header of 1 MB", "connect_error", sends(response(image_bytes(), b"X: " + b"x" * 10**6))),
    Bad(
        "large-cookie",
        "a cookie of 1 MB",
        "connect_error",
        sends(response(image_bytes(), b"Set-Cookie: a=" + b"x" * 10**6)),
    ),
    Bad("nul-in-header", "a NUL in a header", "connect_error", sends(response(image_bytes(), b'ETag: "a\x00b"'))),
    Bad("no-colon", "a header without a colon", "connect_error", sends(response(image_bytes(), b"X-Y z"))),
    Bad("space-in-name", "a space before the colon", "connect_error", sends(response(image_bytes(), b"X-Y : z"))),
    Bad("half-headers", "half of the headers, then silence", "read_timeout", then_stays(OK + b"X-Y: z\r\n")),
)

LENGTHS = (
    Bad("length-larger", "a body cut short", "connect_error", then_leaves(head(b"Content-Length: 999") + HALF)),
    Bad("length-smaller", "more bytes than declared", "connect_error", then_stays(head(b"Content-Length: 9") + HALF)),
    Bad("length-negative", "a length of -1", "connect_error", then_stays(head(b"Content-Length: -1") + HALF)),
    Bad("length-word", "a length in words", "connect_error", then_stays(head(b"Content-Length: many") + HALF)),
    Bad("length-hex", "a length in hexadecimal", "connect_error", then_stays(head(b"Content-Length: 0x9") + HALF)),
    Bad("length-list", "a length twice in a header", "connect_error", then_stays(head(b"Content-Length: 9, 9") + HALF)),
    Bad("length-empty", "a length without digits", "connect_error", then_stays(head(b"Content-Length:") + HALF)),
    Bad("length-plus", "a length with a sign", "connect_error", then_stays(head(b"Content-Length: +9") + HALF)),
    Bad("lengths", "two lengths", "connect_error", then_stays(head(b"Content-Length: 9", b"Content-Length: 8") + HALF)),
    Bad("length-huge", "a length of 10^17", "body_too_large", then_stays(head(b"Content-Length: 1%017d" % 0) + HALF)),
    Bad("length-huger", "a length of 10^18", "body_too_large", then_floods(head(b"Content-Length: 1%018d" % 0), b"x")),
    Bad("length-2-64", "a length of 2^64", "connect_error", then_stays(head(b"Content-Length: %d" % 2**64) + HALF)),
    Bad("length-and-chunks", "a length and chunks", "connect_error",
        then_stays(head(b"Content-Length: 9", b"Transfer-Encoding: chunked") + b"9\r\n123456789\r\n0\r\n\r\n")),
    Bad("chunks-and-length", "chunks and a length", "connect_error",
        then_stays(head(b"Transfer-Encoding: chunked", b"Content-Length: 9") + b"9\r\n123456789\r\n0\r\n\r\n")),
)  # fmt: skip

CHUNKS = (
    Bad("chunk-larger", "a chunk with fewer bytes than declared", "read_timeout", then_stays(CHUNKED + b"99\r\nx\r\n")),
    Bad("chunk-smaller", "a chunk with more bytes", "connect_error", then_stays(CHUNKED + b"2\r\nxxxx\r\n0\r\n\r\n")),
    Bad("chunk-2-64", "a chunk of 2^64 bytes", "connect_error", then_stays(CHUNKED + b"1%016d\r\nxx" % 0)),
    Bad("chunk-2-63", "a chunk of 2^63 bytes", "body_too_large", then_floods(CHUNKED + b"8%015d\r\n" % 0, b"x")),
    Bad("chunk-negative", "a chunk of -1 bytes", "connect_error", then_stays(CHUNKED + b"-1\r\nxx\r\n")),
    Bad("chunk-word", "a chunk of `many` bytes", "connect_error", then_stays(CHUNKED + b"many\r\nxx\r\n")),
    Bad("chunk-empty", "a chunk without a size", "connect_error", then_stays(CHUNKED + b"\r\nxx\r\n")),
    Bad("chunk-spaces", "a space in a size", "connect_error", then_stays(CHUNKED + b"1 0\r\nxx\r\n")),
    Bad("chunk-zeros", "a size of zeros without end", "body_too_large", then_floods(CHUNKED, b"0")),
    Bad("chunk-extension", "an extension without end", "body_too_large", then_floods(CHUNKED + b"9;a=", b"x")),
    Bad("chunk-extensions", "more extensions than bytes", "body_too_large",
        then_floods(CHUNKED, b"1;a=" + b"x" * 65_000 + b"\r\nx\r\n")),
    Bad("chunk-tiny", "a chunk for each byte", "body_too_large", then_floods(CHUNKED, b"1\r\nx\r\n")),
    Bad("trailer", "a trailer without end", "connect_error", then_floods(CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"x")),
    Bad("trailers", "trailers without end", "connect_error", then_floods(CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Y: z\r\n")),
    Bad("chunk-cut", "closed in the middle of a chunk", "connect_error", then_leaves(CHUNKED + b"99\r\nxxxx")),
    Bad("chunks-without-end", "closed before the last chunk", "connect_error", then_leaves(CHUNKED + b"1\r\nx\r\n")),
    Bad("encoding-unknown", "gzip as transfer encoding", "read_timeout",
        then_stays(head(b"Transfer-Encoding: gzip") + HALF)),
    Bad("chunked-twice", "chunked twice", "not_an_image",
        sends(head(b"Transfer-Encoding: chunked, chunked") + b"1\r\nx\r\n0\r\n\r\n"), True, True),
)  # fmt: skip

BODIES = (
    Bad("endless", "a body without length or end", "body_too_large", then_floods(head(), b"x")),
    Bad("endless-chunks", "chunks without end", "body_too_large", then_floods(CHUNKED, b"3e8\r\n%01000d\r\n" % 0)),
    Bad("drip", "a byte every 20 ms", "total_timeout", then_drips(head(), b"x")),
    Bad("drip-chunks", "a chunk every 20 ms", "total_timeout", then_drips(CHUNKED, b"1\r\nx\r\n")),
    Bad("stall", "half of an image, then silence", "read_timeout", then_stays(head(b"Content-Length: 9999") + HALF)),
    Bad("stall-at-once", "headers, then silence", "read_timeout", then_stays(head(b"Content-Length: 9999"))),
    Bad("half-open", "half of an image, then half-closed", "connect_error",
        then_half_closes(head(b"Content-Length: 9999") + HALF)),
    Bad("reset-in-body", "half of an image, then RST", "connect_error",
        then_resets(head(b"Content-Length: 9999") + HALF)),
    Bad("cut-headers", "closed after the headers", "connect_error", then_leaves(head(b"Content-Length: 9999"))),
)  # fmt: skip

CONNECTIONS = (
    Bad("silence", "no response", "read_timeout", then_stays(b"")),
    Bad("deaf", "nothing is read", "read_timeout", never_reads, at_once=True),
    Bad("deaf-tls", "a TLS greeting is not read", "connect_timeout", never_reads, at_once=True, scheme="https"),
    Bad("plain", "HTTP on a TLS port", "tls_error", then_stays(response(HALF)), at_once=True, scheme="https"),
    Bad("tls", "TLS on an HTTP port", "connect_error", then_stays(b"\x15\x03\x01\x00\x02\x02\x28")),
    Bad("leaves-at-once", "closed before the request", "connect_error", then_leaves(b""), at_once=True),
    Bad("resets-at-once", "RST before the request", "connect_error", then_resets(b""), at_once=True),
    Bad("leaves", "closed after the request", "connect_error", then_leaves(b"")),
    Bad("resets", "RST after the request", "connect_error", then_resets(b"")),
    Bad("half-closed", "half-closed after the request", "connect_error", then_half_closes(b"")),
    Bad("leaves-in-headers", "closed in the headers", "connect_error", then_leaves(OK + b"X-Y")),
    Bad("leaves-in-status", "closed in the status line", "connect_error", then_leaves(b"HTTP/1.1 2")),
    Bad("garbage", "not HTTP", "connect_error", then_stays(b"\x00\xffSSH-2.0 this is no HTTP\r\n\r\n")),
    Bad("greeting", "another protocol's greeting", "connect_error", then_stays(b"220 mail.test\r\n"), at_once=True),
    Bad("http-0-9", "HTTP/0.9: the body alone", "connect_error", then_leaves(image_bytes())),
    Bad("http-2", "HTTP/2: a preface and SETTINGS", "connect_error",
        then_stays(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))),
    Bad("http-9-9", "a future version", "connect_error", then_stays(response(HALF, status=b"HTTP/9.9 200 OK"))),
    Bad("icy", "an ICY (SHOUTcast) status line", "connect_error", then_stays(response(HALF, status=b"ICY 200 OK"))),
)  # fmt: skip

STATUSES = (
    Bad("status-000", "status 000", "http_0", sends(response(b"", status=b"HTTP/1.1 000 None")), whole=True),
    Bad("status-999", "status 999", "http_999", sends(response(b"", status=b"HTTP/1.1 999 Denied")), whole=True),
    Bad("status-abc", "status abc", "connect_error", then_stays(response(b"", status=b"HTTP/1.1 abc OK"))),
    Bad("status-20", "two digits", "connect_error", then_stays(response(b"", status=b"HTTP/1.1 20 OK"))),
    Bad("status-2000", "four digits", "connect_error", then_stays(response(b"", status=b"HTTP/1.1 2000 OK"))),
    Bad("status-negative", "status -200", "connect_error", then_stays(response(b"", status=b"HTTP/1.1 -200 OK"))),
    Bad("continue-flood", "100 Continue without end", "body_too_large", then_floods(b"", CONTINUE)),
    Bad("continue-drip", "100 Continue every 20 ms", "total_timeout", then_drips(b"", CONTINUE)),
    Bad("switch", "a switch to an unrequested protocol", "http_101",
        then_floods(head(b"Upgrade: h2c", b"Connection: Upgrade", status=b"HTTP/1.1 101 Switching Protocols"), b"x")),
    Bad("no-content", "204", "not_an_image", sends(head(status=b"HTTP/1.1 204 No Content")), True, True),
    Bad("no-content-body", "204 and a body", "connect_error", sends(response(HALF, status=b"HTTP/1.1 204 No Content"))),
    Bad("partial", "206 unasked", "http_206",
        sends(response(HALF, b"Content-Range: bytes 0-9/99", status=b"HTTP/1.1 206 Partial Content")), whole=True),
    Bad("not-modified", "304 unasked", "http_304", sends(head(status=b"HTTP/1.1 304 Not Modified")), whole=True),
    Bad("not-modified-body", "304 with a body", "connect_error",
        sends(response(HALF, status=b"HTTP/1.1 304 Not Modified"))),
    *(
        Bad(f"endless-{status}", f"{status} with a body without end", f"http_{status}",
            then_floods(head(status=b"HTTP/1.1 %d %s" % (status, reason)), b"x"))
        for status, reason in ERRORS.items()
    ),
    *(
        Bad(f"retry-after-{name}", f"wait {value[:30]!r}", "http_429",
            sends(response(b"", b"Retry-After: " + value, status=b"HTTP/1.1 429 Too Many Requests")), whole=True)
        for name, value in {"years": b"315360000", "negative": b"-9", "nan": b"NaN", "huge": b"9" * 400,
                            "date": b"Fri, 31 Dec 9999 23:59:59 GMT", "bytes": b"\xff\xfe"}.items()
    ),
)  # fmt: skip

LOCATIONS = {
    "loop": (b"/", "too_many_redirects"),
    "away": (b"/HOP", "too_many_redirects"),
    "file": (b"file:///etc/passwd", "invalid_url"),
    "gopher": (b"gopher://127.0.0.1:PORT/_GET", "invalid_url"),
    "javascript": (b"javascript:alert(1)", "invalid_url"),
    "ftp": (b"ftp://127.0.0.1:PORT/a.jpg", "invalid_url"),
    "data": (b"data:image/png;base64,AAAA", "invalid_url"),
    "unix": (b"http+unix://%2Frun%2Fdocker.sock/", "invalid_url"),
    "userinfo": (b"http://user:secret@127.0.0.1:PORT/", "invalid_url"),
    "port-0": (b"http://127.0.0.1:0/", "invalid_url"),
    "port-65536": (b"http://127.0.0.1:65536/", "invalid_url"),
    "backslash": (b"http://127.0.0.1:PORT\\@10.0.0.1/", "invalid_url"),
    "control": (b"/a\x01b", "invalid_url"),
    "delete": (b"/a\x7fb", "invalid_url"),
    "tab": (b"/a\tb", "invalid_url"),
    "cr": (b"/a\rX-Injected: 1", "connect_error"),
    "lf": (b"/a\nX-Injected: 1", "too_many_redirects"),
    "fold": (b"/a\r\n b", "too_many_redirects"),
    "encoded-crlf": (b"/a%0d%0aX-Injected:%201", "too_many_redirects"),
    "not-utf-8": (b"/gr\xfcn\xff\xfe", "too_many_redirects"),
    "megabyte": (b"/" + b"a" * 10**6, "connect_error"),
    "metadata": (b"http://169.254.169.254/latest/meta-data/", "blocked_address"),
    "metadata-name": (b"http://metadata.google.internal/", "blocked_address"),
    "private": (b"http://10.0.0.1/", "blocked_address"),
    "loopback-2": (b"http://127.0.0.2:PORT/", "blocked_address"),
    "ipv6-loopback": (b"http://[::1]:PORT/", "blocked_address"),
    "mapped": (b"http://[::ffff:10.0.0.1]/", "blocked_address"),
    "nat64": (b"http://[64:ff9b::a00:1]/", "blocked_address"),
    "unspecified": (b"http://0.0.0.0:PORT/", "blocked_address"),
    "number": (b"http://167772161/", "invalid_url"),
    "hexadecimal": (b"http://0xa000001/", "blocked_address"),
}

REDIRECTS = (
    *(
        Bad(f"to-{name}", f"a redirect to {location[:40]!r}", code, redirects(location), whole=code != "connect_error")
        for name, (location, code) in LOCATIONS.items()
    ),
    Bad("to-nowhere", "a redirect without Location", "http_302",
        sends(response(b"", status=b"HTTP/1.1 302 Found")), whole=True),
    Bad("to-two", "two Locations", "too_many_redirects",
        sends(response(b"", b"Location: /a", b"Location: /b", status=b"HTTP/1.1 302 Found")), whole=True),
    Bad("endless-redirect", "redirects with bodies without end", "too_many_redirects",
        then_floods(head(b"Location: /", status=b"HTTP/1.1 302 Found"), b"x")),
)  # fmt: skip

IMAGES = (
    Bad("html", "an HTML page", "not_an_image", sends(response(b"<!doctype html><h1>Welcome</h1>")), True, True),
    Bad("empty", "an empty body", "not_an_image", sends(response(b"")), True, True),
    Bad("half", "half of an image", "decode_error", sends(response(HALF)), True, True),
    Bad("half-without-length", "half of an image, then closed", "decode_error", then_leaves(head() + HALF), True),
    Bad("huge", "20,000 × 20,000 pixels", "too_many_pixels", sends(response(huge_png())), True, True),
    Bad("svg", "an SVG with a script", "unsupported_format", sends(response(SVG)), True, True),
    Bad("bomb", "20 MB in 20 kB", "not_an_image", sends(response(BOMB, b"Content-Encoding: gzip")), True, True),
    Bad("unpacked", "gzip in name only", "not_an_image",
        sends(response(b"no gzip", b"Content-Encoding: gzip")), True, True),
    Bad("brotli", "an unrequested encoding", "not_an_image",
        sends(response(b"\x0b\x02\x80brotli\x03", b"Content-Encoding: br")), True, True),
)  # fmt: skip

MISBEHAVIOURS = (*HEADERS, *LENGTHS, *CHUNKS, *BODIES, *CONNECTIONS, *STATUSES, *REDIRECTS, *IMAGES)
