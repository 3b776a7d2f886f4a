"""Fuzzes `read_manifest` with malformed CSVs."""

import codecs
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from random import Random

from fuzzing.mutations import Case, Mutator
from imgsvc.domain.manifest.read_csv import Columns, Manifest, OnInvalid, read_manifest
from imgsvc.errors import InvalidManifest, LimitExceeded

HEADER = b"S. No.,Product Name,Input Image Urls\r\n"
SEEDS = (
    HEADER + b'1.,Mug,"https://a.example/1.jpg, https://a.example/2"\r\n2.,Cup,"https://a.example/1.jpg"\r\n',
    HEADER + b"1,Mug,https://a.example/1,https://a.example/w_1,h_2/3\n\n2,Cup,http://b.example:8080/?x=[1]\n",
    b'sep=;\nID;Name;Images;Note\n1;"M""ug";["https:\\/\\/a.example\\/1", "//b.example/2"];x\n',
    b"Handle|Title|ID|Image Src\nmug|Mug|1|www.a.example\nmug||2|https://xn--bcher-kva.example/\n",
    b"\xef\xbb\xbfid\tsku\timages\n1\tM\xc3\xbcg\thttps://b\xc3\xbccher.example/1\n",
)
PIECES = (
    *(b",", b";", b"\t", b"|", b'"', b'""', b"'", b"\0", b"\r", b"\n", b"\r\n", b" ", b"\\", b"\\u0026", b"["),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xed\xa0\x80", b"\x81", b"\xe2\x80\x8b", b"\xc2\x85", b"\x0c"),
    *(b"sep=;\n", b'"sep=|"\r\n', b"https://", b", https://a.example/9", b"://", b"//x", b"www.", b"]", HEADER),
)
BREAKS = (b", ", b",", b";|", b" ", b"\xe2\x80\x8b", b"a.", b"https://", b"//", b"www.", b"['", b'""', b"\\/", b"x")


class Manifests:
    def __init__(self, corpora: Path) -> None:
        folders = [sorted((corpora / "csv" / name).glob("*.csv")) for name in ("brief", "catalog", "general")]
        corpus = [[path.read_bytes() for path in folder] for folder in folders]
        self.groups = [list(SEEDS), list(SEEDS), *(group for group in corpus if group)]
        self.seeds = list(chain(*self.groups))

    def make(self, rng: Random) -> Case:
        mutator, data = Mutator(rng, self.seeds, PIECES), rng.choice(rng.choice(self.groups))
        for _ in range(rng.choice((1, 1, 2))):
            data = rng.choice(MUTATIONS)(data, rng) if rng.random() < 0.4 else mutator.mutated(data)
        return Case(data, (_columns(data, rng), rng.choice(("reject", "skip"))))

    def attempt(self, case: Case) -> str:
        columns, on_invalid = case.plan
        try:
            manifest = read_manifest(case.data, columns=columns, on_invalid=on_invalid)
        except (InvalidManifest, LimitExceeded) as refusal:
            assert 1 <= len(refusal.problems) <= min(100, refusal.problems_total)
            assert all(problem.code and problem.detail for problem in refusal.problems)
            return refusal.problems[0].code
        _check(manifest, on_invalid)
        return "accepted"


def _check(manifest: Manifest, on_invalid: OnInvalid) -> None:
    slots = [slot for product in manifest.products for slot in product.slots]
    assert manifest.url_count == len(slots) > 0
    assert set(slots) == set(range(len(manifest.assets)))
    assert len(set(manifest.assets)) == len(manifest.assets)
    assert not (manifest.invalid and on_invalid == "reject")
    assert all(len(product.cells) <= len(manifest.header) for product in manifest.products)


def _columns(data: bytes, rng: Random) -> Columns | None:
    """Return names from the first line in 30 % of the cases, otherwise None."""
    names = [name.strip(' "') for name in data[:500].decode(errors="replace").split("\n")[0].split(",")]
    names = [name for name in names if name.strip()]
    if not names or rng.random() < 0.7:
        return None
    serial = rng.choice((None, *names))
    return Columns(serial_number=serial, product_name=rng.choice(names), image_urls=rng.choice(names))


def _other_encoding(data: bytes, rng: Random) -> bytes:
    text = data.decode("utf-8", "replace")
    if rng.random() < 0.3:
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice("\ud800\udfff\0\ufeff\u2028\x85") + text[at:]
    encoding, mark = rng.choice(
        (
            ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE), ("utf-16-le", b""),
            ("utf-32-le", codecs.BOM_UTF32_LE), ("utf-8", codecs.BOM_UTF8), ("utf-7", b""),
        )
    )  # fmt: skip
    return mark + text.encode(encoding, "surrogatepass" if "7" not in encoding else "replace")


def _repeated_cell(data: bytes, rng: Random) -> bytes:
    cells = data.split(b",")
    at = rng.randrange(len(cells))
    cells[at:at] = [cells[at][:1000]] * rng.choice((1, 10, 100, 101, 999, 1000, 20_000))
    return b",".join(cells)


def _a_million_columns(data: bytes, rng: Random) -> bytes:
    at = rng.choice((0, data.find(b"\n"), len(data)))
    return data[:at] + rng.choice((b",", b"x,", b'"",', b";", b"\t")) * 1_000_000 + data[at:]


def _a_huge_cell(data: bytes, rng: Random) -> bytes:
    at = rng.choice([index for index, byte in enumerate(data) if byte in b",\n"] or [0]) + 1
    cell = rng.choice(BREAKS) * rng.choice((1_000, 20_000, 60_000, 1_000_000)) + rng.choice(BREAKS)
    quoted = b'"' + cell + b'"' if rng.random() < 0.5 else cell
    return data[:at] + quoted[:MAX_CELL] + data[at:]


def _an_open_quote(data: bytes, rng: Random) -> bytes:
    unquoted = data[:5_000].replace(b'"', b"") * rng.choice((1, 10, 1_000))
    at = rng.choice([index for index, byte in enumerate(unquoted[:5000]) if byte in b",\n"] or [0]) + 1
    return unquoted[:at] + b'"' + unquoted[at:]


def _many_lines(data: bytes, rng: Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    line, max_count = rng.choice(((b"\n", 2_000_001), (rng.choice(lines)[:500], 10_000)))
    return b"".join(lines[: rng.randint(0, len(lines))]) + line * rng.choice((100, 1_001, max_count))


MAX_CELL = 3_000_000
MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _other_encoding,
    _other_encoding,
    _repeated_cell,
    _a_million_columns,
    _a_huge_cell,
    _an_open_quote,
    _many_lines,
)
