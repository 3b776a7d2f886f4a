"""A batch on a terminal: the bar while it runs, and its end in a sentence."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from imgsvc.client import Batch, Client
from imgsvc.figures import printable, saved, size

_CAUSES_IN_BAR = 2


class _Rate(ProgressColumn):
    """Images per second, as rich measured them lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "")


def follow_on(console: Console, client: Client, batch: Batch) -> Batch:
    """Show how the batch goes until it has ended; the batch at its end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("{task.fields[saved]}", style="green", markup=False),
        TextColumn("{task.fields[failures]}", style="red", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("Compressing", total=None, saved="", failures="")
        return client.wait(batch, progress=lambda latest: bar.update(task, **_figures(latest)))


def _figures(batch: Batch) -> dict[str, Any]:
    assets, transfer = batch.counts.assets, batch.bytes
    return {
        "total": assets.total,
        "completed": assets.ended,
        "saved": f"{size(transfer.input - transfer.output)} saved" if transfer.input else "",
        "failures": f"{assets.failed} failed: {_causes(batch, most=_CAUSES_IN_BAR)}" if assets.failed else "",
    }


def summary(batch: Batch) -> str:
    """The batch in a sentence or two."""
    assets, transfer = batch.counts.assets, batch.bytes
    text = f"{batch.status}: {assets.succeeded} of {assets.total} images compressed"
    if transfer.input:
        text += f", {size(transfer.input)} → {size(transfer.output)}, {saved(transfer.input, transfer.output)} saved"
    causes = _causes(batch)
    return f"{text}. Failed: {causes}." if causes else f"{text}."


def _causes(batch: Batch, *, most: int | None = None) -> str:
    """What images failed for, the most frequent first."""
    causes = sorted(batch.errors_by_code.items(), key=lambda cause: -cause[1])
    listed = [f"{printable(code)} × {count}" for code, count in causes[:most]]
    return ", ".join([*listed, "…"] if len(listed) < len(causes) else listed)
