"""The progress bar of a batch, and the summary at its end."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from imgsvc.client import Batch, Client
from imgsvc.terminal.formatting import printable, saved, size

_MIN_LABEL_WIDTH = 90
"""Minimum width of the terminal, in columns, for a bar with a label."""


class _Rate(ProgressColumn):
    """The column with images per second, as measured by rich."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "")


class _Bar(Progress):
    """The bar of one batch, with the causes of failed images below it."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["causes"]:
                yield Text(task.fields["causes"], style="red", no_wrap=True, overflow="ellipsis")


def show_progress(console: Console, client: Client, batch: Batch) -> Batch:
    """Show the progress of the batch until it has ended, and return its final state."""
    columns = (
        *([TextColumn("Compressing")] if console.width >= _MIN_LABEL_WIDTH else []),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[saved]}", style="green"),
        TextColumn("{task.fields[failures]}", style="red"),
        TimeRemainingColumn(),
    )
    with _Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=None, saved="", failures="", causes="")
        return client.wait(batch, progress=lambda latest: bar.update(task, **_fields(latest)))


def _fields(batch: Batch) -> dict[str, Any]:
    assets, transfer = batch.counts.assets, batch.bytes
    return {
        "total": assets.total,
        "completed": assets.ended,
        "saved": f"{size(transfer.input - transfer.output)} saved" if transfer.input else "",
        "failures": f"{assets.failed} failed" if assets.failed else "",
        "causes": _causes(batch),
    }


def summary(batch: Batch) -> str:
    """Describe the batch in a few sentences."""
    assets, transfer = batch.counts.assets, batch.bytes
    text = f"{batch.status}: {assets.succeeded} of {assets.total} images compressed"
    if transfer.input:
        text += f", {size(transfer.input)} → {size(transfer.output)}, {saved(transfer.input, transfer.output)} saved"
    causes, changes = _causes(batch), batch.changes
    text = f"{text}. Failed: {causes}." if causes else f"{text}."
    if changes is None or changes.compared_with is None:
        return text
    counts = f"{changes.new} new, {changes.changed} changed, {changes.unchanged} unchanged, {changes.gone} gone"
    return f"{text} Rows since the version before: {counts}."


def _causes(batch: Batch) -> str:
    """List the error codes of failed images, the most frequent first."""
    causes = sorted(batch.errors_by_code.items(), key=lambda cause: -cause[1])
    return ", ".join(f"{printable(code)} × {count}" for code, count in causes)
