"""Draws one plot: plot.py NAME FIGURES.json IMAGE.svg; needs Matplotlib."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

plt.rcParams.update(
    {"svg.hashsalt": "imgsvc", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3, "font.size": 9}
)


def memory(figures):
    """Plot the resident memory of the largest worker over a long batch, and the peaks of the worst images."""
    figure, (over_time, worst_images) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    over_time.plot([seconds / 60 for seconds, _, _ in figures["soak"]], [worker for _, worker, _ in figures["soak"]])
    over_time.axhline(300, color="tab:red", linewidth=0.8, linestyle="--")
    over_time.set(title="The largest worker over one batch", xlabel="minutes", ylabel="MB resident", ylim=0)
    names = list(figures["worst"])
    worst_images.barh(names, [figures["worst"][name][1] for name in names], label="sandbox process", color="tab:orange")
    worst_images.barh(
        names, [figures["worst"][name][0] for name in names], label="worker", color="tab:blue", height=0.4
    )
    worst_images.axvline(700, color="tab:red", linewidth=0.8, linestyle="--")
    worst_images.set(title="One image of 49 megapixels", xlabel="peak MB resident")
    worst_images.invert_yaxis()
    worst_images.legend()
    return figure


def growth(figures):
    """Plot milliseconds per image over the size of the batch, one line per number of processes."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for processes, points in figures.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=f"{processes} process{'es' * (processes != '1')}")
    axes.set(xscale="log", ylim=0, xlabel="URLs in the batch", ylabel="ms per image of 300 px")
    axes.legend()
    return figure


def compression(figures):
    """Plot SSIM over bits per pixel, one line per format."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name in dict.fromkeys(name for name, *_ in figures):
        points = [(quality, bits, ssim) for format_, quality, bits, ssim in figures if format_ == name]
        axes.plot([bits for _, bits, _ in points], [ssim for *_, ssim in points], marker="o", label=name)
        for quality, bits, ssim in points:
            axes.annotate(str(quality), (bits, ssim), textcoords="offset points", xytext=(4, -9), fontsize=7)
    axes.set(xlabel="bits per pixel", ylabel="SSIM", xlim=0, title="Size and similarity of each quality")
    axes.legend()
    return figure


def speed(figures):
    """Plot shares of the limit: medians and ranges of the runs."""
    names = [name for name in SPEEDS if all(name in run for run in figures["runs"])]
    shares = [sorted(run[name] / run[f"limit for {name}"] for run in figures["runs"]) for name in names]
    medians = [share[len(share) // 2] for share in shares]
    lower = [median - share[0] for median, share in zip(medians, shares, strict=True)]
    upper = [share[-1] - median for median, share in zip(medians, shares, strict=True)]
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    colours = ["tab:blue" if "," not in name else "tab:gray" for name in names]
    axes.barh([SPEEDS[name] for name in names], medians, xerr=[lower, upper], color=colours, capsize=2)
    axes.axvline(1, color="tab:red", linewidth=0.8, linestyle="--")
    axes.set(title="Share of the speed of Pillow alone on all cores", xlim=0)
    axes.invert_yaxis()
    return figure


SPEEDS = {
    "no latency": "imgsvc, no latency",
    "img2dataset, no latency": "img2dataset, steady",
    "img2dataset with its start, no latency": "img2dataset",
    "Flask and Celery, no latency": "Flask + Celery",
    "Flask and Celery, two CSVs, no latency": "Flask + Celery, two CSVs",
    "150 ms": "imgsvc, 150 ms",
    "img2dataset, 150 ms": "img2dataset, steady, 150 ms",
    "img2dataset with its start, 150 ms": "img2dataset, 150 ms",
    "Flask and Celery, 150 ms": "Flask + Celery, 150 ms",
    "Flask and Celery, two CSVs, 150 ms": "Flask + Celery, two CSVs, 150 ms",
}

if __name__ == "__main__":
    name, source, image = sys.argv[1:]
    Path(image).parent.mkdir(parents=True, exist_ok=True)
    plot = {"memory": memory, "growth": growth, "speed": speed, "compression": compression}[name](
        json.loads(Path(source).read_text())
    )
    plot.savefig(image, metadata={"Date": None})
