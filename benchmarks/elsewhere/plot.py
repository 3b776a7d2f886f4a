"""Draws one image: plot.py NAME FIGURES.json PICTURE.svg; needs Matplotlib."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

plt.rcParams.update(
    {"svg.hashsalt": "imgsvc", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3, "font.size": 9}
)


def memory(figures):
    """Resident memory of the largest worker over a long batch, and peaks of the worst images."""
    figure, (over_time, of_worst) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    over_time.plot([seconds / 60 for seconds, _, _ in figures["soak"]], [worker for _, worker, _ in figures["soak"]])
    over_time.axhline(300, color="tab:red", linewidth=0.8, linestyle="--")
    over_time.set(title="The largest worker over one batch", xlabel="minutes", ylabel="MB resident", ylim=0)
    names = list(figures["worst"])
    of_worst.barh(names, [figures["worst"][name][1] for name in names], label="process of its own", color="tab:orange")
    of_worst.barh(names, [figures["worst"][name][0] for name in names], label="worker", color="tab:blue", height=0.4)
    of_worst.axvline(700, color="tab:red", linewidth=0.8, linestyle="--")
    of_worst.set(title="One image of 49 megapixels", xlabel="MB resident at most")
    of_worst.invert_yaxis()
    of_worst.legend()
    return figure


def growth(figures):
    """Milliseconds per image over the size of the batch, a line for each number of processes."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for processes, points in figures.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=f"{processes} process{'es' * (processes != '1')}")
    axes.set(xscale="log", ylim=0, xlabel="URLs in the batch", ylabel="ms per image of 300 px")
    axes.legend()
    return figure


def compression(figures):
    """SSIM over bits a pixel, a line for each format."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name in dict.fromkeys(name for name, *_ in figures):
        points = [(quality, bits, ssim) for format_, quality, bits, ssim in figures if format_ == name]
        axes.plot([bits for _, bits, _ in points], [ssim for *_, ssim in points], marker="o", label=name)
        for quality, bits, ssim in points:
            axes.annotate(str(quality), (bits, ssim), textcoords="offset points", xytext=(4, -9), fontsize=7)
    axes.set(xlabel="bits a pixel", ylabel="SSIM", xlim=0, title="What each quality costs and shows")
    axes.legend()
    return figure


def speed(figures):
    """Shares of the limit, medians and ranges of the turns."""
    names = [name for name in SPEEDS if all(name in turn for turn in figures["turns"])]
    shares = [sorted(turn[name] / turn[f"limit beside {name}"] for turn in figures["turns"]) for name in names]
    medians = [share[len(share) // 2] for share in shares]
    lower = [median - share[0] for median, share in zip(medians, shares, strict=True)]
    upper = [share[-1] - median for median, share in zip(medians, shares, strict=True)]
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    colours = ["tab:blue" if "," not in name else "tab:gray" for name in names]
    axes.barh([SPEEDS[name] for name in names], medians, xerr=[lower, upper], color=colours, capsize=2)
    axes.axvline(1, color="tab:red", linewidth=0.8, linestyle="--")
    axes.set(title="Share of what Pillow alone does on all cores", xlim=0)
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
    drawn = {"memory": memory, "growth": growth, "speed": speed, "compression": compression}[name](
        json.loads(Path(source).read_text())
    )
    drawn.savefig(image, metadata={"Date": None})
