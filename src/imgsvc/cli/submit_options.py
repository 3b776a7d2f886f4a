"""The options of `imgsvc submit`; the server validates most of them, so they are strings as typed."""

import os
import re
from pathlib import Path
from typing import Annotated, get_args

import typer

from imgsvc.cli.connection import check_writable
from imgsvc.client.uploads import Format


def is_url(file: str) -> bool:
    return file.lower().startswith(("http://", "https://"))


def _check_catalogue(file: str) -> str:
    """Refuse a path that cannot be read."""
    path = Path(file)
    if not is_url(file):
        if not path.exists():
            raise typer.BadParameter(f"File '{file}' does not exist.")
        if path.is_dir():
            raise typer.BadParameter(f"File '{file}' is a directory.")
        if not os.access(path, os.R_OK):
            raise typer.BadParameter(f"File '{file}' is not readable.")
    return file


def _check_idempotency_key(key: str | None) -> str | None:
    if key is not None and not re.fullmatch("[!-~]{1,255}", key):
        raise typer.BadParameter("must be 1 to 255 ASCII characters without spaces.")
    return key


Catalogue = Annotated[
    str,
    typer.Argument(
        callback=_check_catalogue,
        metavar="FILE",
        help="The catalogue: a file, or the URL that the server fetches it from.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        callback=check_writable,
        help="File for the result: .csv, .xlsx, .ods, .tsv, .jsonl or .xml; implies --wait.",
    ),
]
Archive = Annotated[
    Path | None,
    typer.Option(dir_okay=False, callback=check_writable, help="File for a ZIP of all images; implies --wait."),
]
Key = Annotated[
    str | None,
    typer.Option(
        callback=_check_idempotency_key,
        metavar="KEY",
        help="Uploads with the same key within 24 h create one batch.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Show progress until the batch has ended.")]
Validate = Annotated[bool, typer.Option("--validate", help="Only check the file; store nothing.")]
Quality = Annotated[str | None, typer.Option(metavar="1-95", help="[default: 50]")]
OutputFormat = Annotated[str | None, typer.Option(metavar="|".join(get_args(Format)), help="[default: original]")]
MaxWidth = Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink wider images.")]
MaxHeight = Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink taller images.")]
Fit = Annotated[
    str | None,
    typer.Option(metavar="contain|cover|pad", help="Scale to --width and --height: inside, cropped, or padded."),
]
Width = Annotated[str | None, typer.Option(metavar="PIXELS", help="Width for --fit.")]
Height = Annotated[str | None, typer.Option(metavar="PIXELS", help="Height for --fit.")]
Trim = Annotated[bool, typer.Option("--trim", help="First remove a plain border.")]
Margin = Annotated[
    str | None, typer.Option(metavar="PERCENT", help="Free on each side of what --trim left.  [default: 0]")
]
Background = Annotated[
    str | None, typer.Option(metavar="COLOUR", help="For padding, and transparency in JPEG.  [default: #ffffff]")
]
KeepMetadata = Annotated[str | None, typer.Option(metavar="none|copyright|all", help="[default: copyright]")]
Renditions = Annotated[
    str | None,
    typer.Option(metavar="JSON", help='More renditions, as [{"name": "thumb", "max_width": 200}].'),
]
Columns = Annotated[str | None, typer.Option(metavar="JSON", help="Column mapping for other headers.")]
Sheet = Annotated[str | None, typer.Option(metavar="NAME", help="Sheet of a workbook.  [default: the first]")]
OnInvalid = Annotated[
    str | None, typer.Option(metavar="reject|skip", help="Handling of invalid URLs.  [default: reject]")
]
Names = Annotated[str | None, typer.Option(metavar="TEMPLATE", help="Names of the images.  [default: {name}-{n}]")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Return the same file with the new URLs in place of the old ones.")
]
OnFailed = Annotated[
    str | None,
    typer.Option(metavar="empty|original|URL", help="In place of a failed image.  [default: empty]"),
]
CatalogueName = Annotated[str | None, typer.Option(metavar="NAME", help="Find out what changed since its last.")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Compress again; do not reuse earlier results.")]
WebhookUrl = Annotated[str | None, typer.Option(metavar="URL", help="Called when the batch has ended.")]
Metadata = Annotated[str | None, typer.Option(metavar="JSON", help="Your own key-value pairs.")]
