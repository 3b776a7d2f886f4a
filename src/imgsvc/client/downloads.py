"""Downloads: CSVs and archives to files."""

import os
from pathlib import Path

from imgsvc.client.actions import NO_RETRIES, Call, RetryBudget, Send, next_bytes, sent
from imgsvc.client.files import arriving, is_device
from imgsvc.client.responses import require

CSV, ZIP = "text/csv", "application/zip"


def download(
    source: str, target: str | os.PathLike[str], media_type: str, *, url: str, patience: RetryBudget, **wishes: bool
) -> Call[None]:
    """Write what lies under the path `source` to `target`, where it appears only when all of it has arrived.

    What broke off is begun anew, unless `target` is a pipe. `wishes` are parameters of the query.
    """
    query = {name: "true" for name, wish in wishes.items() if wish}
    path = Path(target)

    def once() -> Call[None]:
        require((yield from sent(Send("GET", source, {"params": query}, streamed=True))), url, media_type)
        with arriving(path) as file:
            while data := (yield from next_bytes()):
                file.write(data)

    return (NO_RETRIES if is_device(path) else patience).spent_on(once)
