"""How cost grows: a chart of each benchmark that measured at several sizes, with logarithmic axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

# Of each: what the horizontal axis counts, and which of its figures are drawn under which name.
CURVES = {
    "maas_inventory": ("machines", {"raw": "a raw request", "cold": "inventory, cold", "cached": "inventory, cached"}),
    "enrolment": ("machines", {"seconds": "from New to Deployed", "again_seconds": "nothing to do"}),
    "push_cost": (
        "devices",
        {"ping_seconds": "ansible -m ping", "push_seconds": "a push that changes nothing", "status_seconds": "status"},
    ),
    "dashboard_pages": ("devices", {"seconds_median": "event to all pages", "picture_seconds": "a page opens"}),
}


def draw(found: list[dict[str, Any]], folder: Path) -> list[str]:
    """Write NAME.svg for each benchmark with points at two sizes or more; the names of the files."""
    drawn = []
    for one in found:
        name, points = one["name"], one["found"]
        if name not in CURVES or not isinstance(points, list) or len(points) < 2:
            continue
        size, figures = CURVES[name]
        points = sorted(points, key=lambda point: point[size])
        sizes = [point[size] for point in points]
        figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
        for key, label in figures.items():
            axes.plot(sizes, [point[key] for point in points], marker="o", label=label)
        first = points[0][next(iter(figures))]
        axes.plot(
            sizes, [first * count / sizes[0] for count in sizes], color="0.7", linestyle="--", label="in proportion"
        )
        axes.set(xscale="log", yscale="log", xlabel=size, ylabel="seconds", title=one["about"])
        axes.set_xticks(sizes, [f"{count:,}" for count in sizes])
        axes.minorticks_off()
        axes.legend(frameon=False)
        axes.grid(visible=True, color="0.9")
        figure.savefig(folder / f"{name}.svg")
        plt.close(figure)
        drawn.append(f"{name}.svg")
    return drawn
