"""checks.csv of batches whose images are in several pages, and of a batch that is deleted meanwhile."""

import csv
from io import StringIO

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Batch
from imgsvc.domain.media_keys import digest, new_media_folder, rendition_key
from imgsvc.errors import NotFound
from imgsvc.services.results import count_repeats
from imgsvc.services.results.checks import checks_csv
from imgsvc.services.results.report import ReportOptions
from support.batches import batch_of, submit_batch
from support.lanes import flush
from support.verbs import delete, succeeded

IMAGES = count_repeats.PAGE + 100


async def checked_batch(resources: Resources) -> Batch:
    """Return a batch whose first and last image are the same, under names of their own."""
    batch = await submit_batch(resources, [f"http://shop.example/{number}.jpg" for number in range(IMAGES)])
    folder = new_media_folder()
    for token in ("first lane", "second lane"):
        claimed = await flush(batch.id, resources, token=token, claim=IMAGES)
        outcomes = []
        for asset in claimed:
            content = digest(b"%d" % (asset.position % (IMAGES - 1)))
            key = rendition_key(
                folder=folder, name=f"mug-{asset.position}", rendition="main", digest=content, extension="jpg"
            )
            outcomes.append(succeeded(batch.id, asset, key=key))
        await flush(batch.id, resources, token=token, outcomes=outcomes)
    return await batch_of(resources.sessions, batch.id)


async def test_images_are_compared_over_pages(resources: Resources) -> None:
    batch = await checked_batch(resources)
    report = checks_csv(batch, ["shopify"], ReportOptions(), sessions=resources.sessions, links=resources.links)
    rows = list(csv.DictReader(StringIO("".join([text async for text in report]), newline="")))
    assert [(row["Serial Number"], row["Check"]) for row in rows] == [("1", "same_image"), (str(IMAGES), "same_image")]


async def test_a_report_whose_batch_is_deleted_meanwhile_does_not_look_complete(resources: Resources) -> None:
    batch = await checked_batch(resources)
    report = checks_csv(batch, [], ReportOptions(), sessions=resources.sessions, links=resources.links)
    assert (await anext(report)).startswith("Serial Number,")
    await delete(resources, batch.id)
    with pytest.raises(NotFound):
        await anext(report)
