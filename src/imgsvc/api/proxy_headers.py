"""Recognises requests that a proxy has forwarded, by the headers that proxies add."""

from collections.abc import Iterable

PROXY_HEADERS = frozenset(
    {
        "forwarded",  # RFC 7239
        "via",  # RFC 9110 §7.6.3
        "surrogate-capability",  # Varnish and others, W3C Edge Architecture
        "proxy-connection",
        "proxy-client-ip",
        "wl-proxy-client-ip",  # WebLogic
        "client-ip",
        "forwarded-for",
        "x-forwarded",
        "x-real-ip",  # nginx
        "x-client-ip",
        "x-cluster-client-ip",
        "x-originating-ip",
        "x-remote-ip",
        "x-remote-addr",
        "x-proxyuser-ip",
        "x-varnish",
        "front-end-https",  # Microsoft
        "true-client-ip",  # Cloudflare, Akamai
        "x-amz-cf-id",  # CloudFront
        "x-sucuri-clientip",
        "ali-cdn-real-ip",
    }
)
PROXY_PREFIXES = (
    "x-forwarded-",
    "x-original-",  # ingress-nginx, IIS
    "cdn-",  # CDN-Loop of RFC 8586, bunny.net
    "cf-",  # Cloudflare
    "fastly-",
    "x-azure-",  # Azure Front Door
    "x-arr-",  # Azure App Service, IIS
    "cloudfront-",
    "akamai-",
    "x-akamai-",
    "fly-",
    "x-nf-",  # Netlify
    "x-vercel-",
    "x-appengine-",
    "x-envoy-",
    "x-traefik-",
    "incap-",  # Imperva
    "do-connecting-",  # DigitalOcean
    "tailscale-",
)


def proxy_header(names: Iterable[str]) -> str | None:
    """Return the first of a request's header names that only a proxy adds.

    None does not prove that there was no proxy: some add nothing, and a TCP tunnel cannot.
    """
    return next(
        (name for name in map(str.lower, names) if name in PROXY_HEADERS or name.startswith(PROXY_PREFIXES)), None
    )
