"""Human-readable numbers and text."""

_STEP = 1024


def size(count: int) -> str:
    """Format a number of bytes in steps of 1024: 0 B, 900 B, 12.3 kB, 4.5 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if abs(amount) < _STEP:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _STEP
    return f"{amount:.1f} GB"


def saved(before: int, after: int) -> str:
    """Format the share of bytes saved, in percent."""
    return f"{1 - after / before:.0%}" if before else "–"


def printable(text: str) -> str:
    """Replace control characters in `text`, which may come from an untrusted CSV."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)
