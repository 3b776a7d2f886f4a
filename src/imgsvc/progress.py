"""A batch on a terminal: the bar while it runs, and its end in a sentence."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from imgsvc.client import Batch, Client
from imgsvc.figures import saved, size


class _Rate(ProgressColumn):
    """Images per second, as rich measured them lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "")


def follow_on(console: Console, client: Client, batch_id: str) -> Batch:
    """Show how the batch goes until it has ended; the batch at its end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("[green]{task.fields[saved]}"),
        TextColumn("[red]{task.fields[failures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("Compressing", total=None, saved="", failures="")
        for batch in client.follow(batch_id):
            assets = batch.counts.assets
            bar.update(
                task,
                total=assets.total,
                completed=assets.total - assets.pending - assets.processing,
                saved=f"{size(batch.bytes.input - batch.bytes.output)} saved" if batch.bytes.input else "",
                failures=f"{assets.failed} failed" if assets.failed else "",
            )
    return batch


def summary(batch: Batch) -> str:
    """The batch in a sentence or two."""
    assets, transfer = batch.counts.assets, batch.bytes
    text = f"{batch.status}: {assets.succeeded} of {assets.total} images compressed"
    if transfer.input:
        text += f", {size(transfer.input)} → {size(transfer.output)}, {saved(transfer.input, transfer.output)} saved"
    causes = ", ".join(f"{code} × {count}" for code, count in batch.errors_by_code.items())
    return f"{text}. Failed: {causes}." if causes else f"{text}."
