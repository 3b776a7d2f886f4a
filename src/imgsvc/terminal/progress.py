"""A batch on a terminal: the bar while it runs, and its end in a sentence."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from imgsvc.client import Batch, Client
from imgsvc.terminal.formatting import printable, saved, size

_WIDE = 90
"""Columns of a terminal; in fewer the bar would have no room beside the figures."""


class _Rate(ProgressColumn):
    """Images per second, as rich measured them lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "")


class _Bar(Progress):
    """The bar of one batch, and under it what images failed for."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["causes"]:
                yield Text(task.fields["causes"], style="red", no_wrap=True, overflow="ellipsis")


def follow_on(console: Console, client: Client, batch: Batch) -> Batch:
    """Show how the batch goes until it has ended; the batch at its end."""
    columns = (
        *([TextColumn("Compressing")] if console.width >= _WIDE else []),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[saved]}", style="green"),
        TextColumn("{task.fields[failures]}", style="red"),
        TimeRemainingColumn(),
    )
    with _Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=None, saved="", failures="", causes="")
        return client.wait(batch, progress=lambda latest: bar.update(task, **_figures(latest)))


def _figures(batch: Batch) -> dict[str, Any]:
    assets, transfer = batch.counts.assets, batch.bytes
    return {
        "total": assets.total,
        "completed": assets.ended,
        "saved": f"{size(transfer.input - transfer.output)} saved" if transfer.input else "",
        "failures": f"{assets.failed} failed" if assets.failed else "",
        "causes": _causes(batch),
    }


def summary(batch: Batch) -> str:
    """The batch in a sentence or two."""
    assets, transfer = batch.counts.assets, batch.bytes
    text = f"{batch.status}: {assets.succeeded} of {assets.total} images compressed"
    if transfer.input:
        text += f", {size(transfer.input)} → {size(transfer.output)}, {saved(transfer.input, transfer.output)} saved"
    causes = _causes(batch)
    return f"{text}. Failed: {causes}." if causes else f"{text}."


def _causes(batch: Batch) -> str:
    """What images failed for, the most frequent first."""
    causes = sorted(batch.errors_by_code.items(), key=lambda cause: -cause[1])
    return ", ".join(f"{printable(code)} × {count}" for code, count in causes)
