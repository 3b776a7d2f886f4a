"""The name of an uploaded file, without folders."""

from urllib.parse import unquote, urlsplit

_MAX_NAME = 255


def base_name(filename: str | None) -> str | None:
    """Return the file name without the folders that some programs include."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:_MAX_NAME] or None


def name_in_url(url: str) -> str | None:
    """Return the last part of the path of `url`, decoded."""
    return base_name(unquote(urlsplit(url).path.rpartition("/")[2]))
