"""Figures and texts as a person reads them."""

_STEP = 1024


def size(count: int) -> str:
    """Bytes in steps of 1024: 0 B, 900 B, 12.3 kB, 4.5 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if abs(amount) < _STEP:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _STEP
    return f"{amount:.1f} GB"


def saved(before: int, after: int) -> str:
    """The share of the bytes that is gone, in percent."""
    return f"{1 - after / before:.0%}" if before else "–"


def printable(text: str) -> str:
    """`text` without what would steer a terminal: it may come from a stranger's CSV."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)
