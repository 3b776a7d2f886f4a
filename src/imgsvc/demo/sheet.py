"""The contact sheet: one HTML page with every image before and after, in the order of the catalogue."""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template

from PIL import Image

from imgsvc.terminal.formatting import size

_SHOWN_BY_BROWSERS = frozenset({".jpg", ".png", ".webp", ".avif", ".gif", ".bmp"})

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>imgsvc: before and after</title>
<style>
  :root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
  body { margin: 2rem auto; padding: 0 1rem; max-width: 76rem }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1.5rem }
  article { border: 1px solid #8885; border-radius: .6rem; padding: .8rem }
  h2 { display: flow-root; font-size: 1rem; margin: 0 0 .5rem; overflow-wrap: anywhere }
  .pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem }
  figure { margin: 0 }
  figure a { display: grid; place-items: center; height: 11rem }
  img { max-width: 100%; max-height: 11rem; border-radius: .3rem;
        background: repeating-conic-gradient(#8883 0 25%, #8881 0 50%) 0 0 / 16px 16px }
  figcaption { font-size: .85rem; margin-top: .4rem; overflow-wrap: anywhere }
  small { opacity: .7 }
  .gain { float: right; font-weight: 600; color: #0a7d42 }
  .failed { border-color: #c33a }
  .failed p { margin: 0; overflow-wrap: anywhere }
</style>
<h1>Before and after</h1>
<p>$summary</p>
<main>
$cards
</main>
</html>
""")

_PAIR = Template("""\
<article><h2>$name<span class="gain">$gain</span></h2><div class="pair">
<figure><a href="$before"><img loading="lazy" src="$preview" alt="before"></a>
<figcaption>$before_size<br><small>$before_name</small></figcaption></figure>
<figure><a href="$after"><img loading="lazy" src="$after" alt="after"></a>
<figcaption>$after_size<br><small>$after_name</small></figcaption></figure>
</div></article>""")

_FAILED = Template('<article class="failed"><h2>$name</h2><p>$url</p><p><strong>$code</strong>: $detail</p></article>')


@dataclass(frozen=True, slots=True)
class Pair:
    """An image before and after compression: two files below the page's folder."""

    name: str
    before: Path
    after: Path
    kept: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that failed, and why."""

    name: str
    url: str
    code: str
    detail: str


def write_sheet(path: Path, cards: Iterable[Pair | Failure], *, summary: str) -> None:
    """Write the page to `path`; its links are relative to its folder."""
    blocks = [_pair(card, path.parent) if isinstance(card, Pair) else _failure(card) for card in cards]
    path.write_text(_PAGE.substitute(summary=escape(summary), cards="\n".join(blocks)), encoding="utf-8")


def _pair(pair: Pair, folder: Path) -> str:
    before, after = (path.relative_to(folder).as_posix() for path in (pair.before, pair.after))
    bytes_before, bytes_after = pair.before.stat().st_size, pair.after.stat().st_size
    return _PAIR.substitute(
        name=escape(pair.name),
        gain="kept unchanged" if pair.kept else _change(bytes_before, bytes_after),
        before=escape(before),
        preview=escape(before) if pair.before.suffix in _SHOWN_BY_BROWSERS else _preview(pair.before),
        before_name=escape(pair.before.name),
        before_size=size(bytes_before),
        after=escape(after),
        after_name=escape(pair.after.name),
        after_size=size(bytes_after),
    )


def _change(before: int, after: int) -> str:
    return f"{after / before - 1:+.0%}".replace("-", "−")


def _failure(failure: Failure) -> str:
    return _FAILED.substitute(
        name=escape(failure.name), url=escape(failure.url), code=escape(failure.code), detail=escape(failure.detail)
    )


def _preview(path: Path) -> str:
    """Return an image that browsers do not show (TIFF) as a data URL of a small PNG."""
    file = BytesIO()
    with Image.open(path) as image:
        image.thumbnail((600, 600))
        image.convert("RGB").save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
