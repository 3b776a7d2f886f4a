"""What a rendition says about its picture: which EXIF tags stay, and what the original bytes would give away."""

from collections.abc import Mapping

from PIL import ExifTags, Image

from imgsvc.domain.decoders import READING_FAILURES

CREDITS = (ExifTags.Base.Artist, ExifTags.Base.Copyright)
POINTERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# Tags that describe how a TIFF lays out its own pixels, and the orientation that has been applied.
LAYOUT = frozenset(
    {0x0111, 0x0112, 0x011C, 0x02BC, 0x83BB, 0x8649, 0x8773}
    | {*range(0x00FE, 0x010E), *range(0x0115, 0x011A), *range(0x013D, 0x015C), *range(0x0200, 0x0215)}
)
# Pillow's names for the blocks beside EXIF that may say where and by whom a picture was taken.
OTHER_BLOCKS = (
    "xmp",
    "XML:com.adobe.xmp",
    "photoshop",
    "Raw profile type xmp",
    "Raw profile type iptc",
    "Raw profile type APP1",
)
LONGEST_BLOCK = 65_000  # bytes; a JPEG segment holds 65,533


def orientation_of(exif: Image.Exif) -> int:
    """1 to 8 as in EXIF; 1 (upright) where the tag is missing or nonsense."""
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_to_keep(exif: Image.Exif, policy: str) -> bytes:
    """The EXIF block to write under `policy` (none, copyright, all); empty where there is nothing to keep."""
    try:
        block = _block(exif, tuple(tag for tag in exif if tag not in LAYOUT)) if policy == "all" else b""
        if policy == "none" or 0 < len(block) <= LONGEST_BLOCK:
            return block
        block = _block(exif, CREDITS)
    except READING_FAILURES:
        return b""
    return block if len(block) <= LONGEST_BLOCK else b""


def _block(exif: Image.Exif, tags: tuple[int, ...]) -> bytes:
    kept = Image.Exif()
    for tag in tags:
        if tag in POINTERS:
            # The pointer to the camera's interoperability table would point nowhere in the new block.
            kept[tag] = {key: value for key, value in exif.get_ifd(tag).items() if key != ExifTags.IFD.Interop}
        elif tag in exif:
            kept[tag] = exif[tag]
    return kept.tobytes() if kept else b""


def gives_away(info: Mapping[str | tuple[int, int], object], exif: Image.Exif, policy: str) -> bool:
    """Whether the original bytes hold metadata that `policy` drops."""
    if policy == "all":
        return False
    if any(block in info for block in OTHER_BLOCKS):
        return True
    unreadable = "exif" in info and not exif
    allowed = CREDITS if policy == "copyright" else ()
    return unreadable or any(tag not in allowed for tag in exif)
