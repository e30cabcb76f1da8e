"""The HTML report of an evaluation: one file that needs nothing else, made from `report.json`."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from au_dist.core.errors import RecipeError
from au_dist.core.facs import NAMES
from au_dist.storage.store import Store, open_store

REPORT = "report.html"

#: What may be in a report, by suffix.
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}

#: Size of a plot's frame in SVG units, and room around it for the numbers.
PLOT_W, PLOT_H, PAD_L, PAD_R, PAD_T, PAD_B = 440.0, 170.0, 46.0, 12.0, 10.0, 26.0

#: Points of a drawn curve; longer ones are averaged over equal numbers of steps.
POINTS = 400


@dataclass(frozen=True)
class Plot:
    """A small plot, ready to be drawn as SVG.

    Attributes:
        title: What is drawn.
        lines: For each curve: its name, its last value, and its points as SVG writes them.
        marks: Grid lines of the value axis: place and text.
        steps: Marks of the step axis: place and text.
        chosen: Place of the evaluated step; None where it is not on the axis.
    """

    title: str
    lines: list[tuple[str, float, str]]
    marks: list[tuple[float, str]]
    steps: list[tuple[float, str]]
    chosen: float | None


def write_report(target: Path | str | Store, report: dict[str, Any]) -> str:
    """Write the page and return its address.

    Args:
        target: An HTML file, or a folder or store in which `report.html` is written.
        report: What `report.json` holds. `comparison`, `pictures` and `curves` may be absent; unknown keys are
            ignored. A number that is None or NaN is shown as a dash.

    Raises:
        RecipeError: Something that the page needs is absent, or a picture is of a kind that a page cannot show.
        StorageError: A picture cannot be read, or the page cannot be written.
    """
    store, name = _place(target)
    store.write(name, render(report).encode())
    return f"{store.uri}/{name}"


def render(report: dict[str, Any]) -> str:
    """Return the page; see `write_report`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("au_dist.scoring", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "share": share, "whole": whole}
    optional = (
        "kind",
        "run",
        "checkpoint",
        "step",
        "stamp",
        "subjects",
        "comparison",
        "baselines",
        "no_baseline",
        "rows_scored",
        "rows_expected",
        "averaged",
    )
    derived = {
        "ridge": any(key.startswith("ridge_") for key in report.get("average") or {}),
        "aus": [{"facs": NAMES.get(row.get("au"), ""), **row} for row in report.get("aus", [])],
        "plots": plots(report.get("curves") or {}, report.get("step")),
        "pictures": [_inlined(picture) for picture in report.get("pictures") or []],
        "facts": [
            (key.capitalize(), flat(report[key])) for key in ("protocol", "recipe", "versions") if report.get(key)
        ],
        "frame": {"w": PLOT_W, "h": PLOT_H, "l": PAD_L, "r": PAD_R, "t": PAD_T, "b": PAD_B},
    }
    try:
        return environment.get_template("report.html").render(dict.fromkeys(optional) | report | derived)
    except jinja2.UndefinedError as error:
        raise RecipeError(
            "This is not the report of an evaluation",
            where=report.get("run"),
            expected="what `au-dist evaluate` writes as report.json",
            found=str(error),
        ) from error


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with fixed digits, a dash for None, NaN and infinities."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share as per cent, a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def share(value: float | None) -> float:
    """Return how much of a bar is filled, in per cent."""
    return 0.0 if value is None or not math.isfinite(value) else round(100 * min(max(value, 0.0), 1.0), 2)


def whole(value: float | None) -> str:
    """Return a count with thin spaces between thousands."""
    return "–" if value is None or not math.isfinite(value) else f"{int(value):,}".replace(",", "\u202f")


def flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested keys as dotted ones with their values as text."""
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            rows += flat(value, f"{name}.")
        else:
            rows.append((name, "–" if value is None else str(value)))
    return rows


def plots(curves: dict[str, Any], chosen: int | None) -> list[Plot]:
    """Return the plots of a run's record: the loss, and the validation metrics.

    Args:
        curves: ``train`` and ``validation`` rows, each with a ``step``.
        chosen: The evaluated step; marked on the step axis.
    """
    drawn = []
    for rows, title, names in (
        ("train", "Training loss", {"loss": "loss"}),
        ("validation", "Validation subjects", {"val_auc": "AUC", "val_f1": "F1", "val_icc": "ICC(3,1)"}),
    ):
        series = {text: _points(curves.get(rows) or [], key) for key, text in names.items()}
        series = {text: points for text, points in series.items() if points}
        if series:
            drawn.append(_plot(title, series, chosen))
    return drawn


def _points(rows: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    points = [
        (float(row["step"]), float(row[key])) for row in rows if row.get(key) is not None and math.isfinite(row[key])
    ]
    each = -(-len(points) // POINTS)
    if each <= 1:
        return points
    groups = [points[start : start + each] for start in range(0, len(points), each)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _plot(title: str, series: dict[str, list[tuple[float, float]]], chosen: int | None) -> Plot:
    values = [y for points in series.values() for _, y in points]
    last = max(x for points in series.values() for x, _ in points)
    marks = ticks(min(values), max(values))
    low, high = min(marks[0], min(values)), max(marks[-1], max(values))

    def across(x: float) -> float:
        return round(PAD_L + PLOT_W * x / max(last, 1.0), 1)

    def down(y: float) -> float:
        return round(PAD_T + PLOT_H * (1 - (y - low) / (high - low)), 1)

    lines = []
    for name, points in series.items():
        drawn = points if len(points) > 1 else [(0.0, points[0][1]), points[0]]
        lines.append((name, points[-1][1], " ".join(f"{across(x)},{down(y)}" for x, y in drawn)))
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0])))
    steps = [(across(x), f"{x:g}") for x in ticks(0.0, last) if x <= last]
    at = across(chosen) if chosen is not None and 0 <= chosen <= last else None
    return Plot(title, lines, [(down(y), f"{y:.{digits}f}") for y in marks], steps, at)


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers from at most `low` to at least `high`."""
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - max(0.5 * abs(low), 0.05), high + max(0.5 * abs(high), 0.05)
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _inlined(picture: dict[str, str]) -> dict[str, str]:
    path = PurePosixPath(str(picture["path"]))
    kind = PICTURES.get(path.suffix.lower())
    if kind is None:
        raise RecipeError(
            "A picture of the report is of a kind that a page cannot show",
            where=picture["path"],
            expected=f"one of {', '.join(PICTURES)}",
        )
    address = open_store(str(picture["path"]))
    data = base64.b64encode(address.parent.read(address.name)).decode()
    return {"title": picture.get("title") or path.stem, "source": f"data:{kind};base64,{data}"}


def _place(target: Path | str | Store) -> tuple[Store, str]:
    store = target if isinstance(target, Store) else open_store(target)
    return (store.parent, store.name) if store.name.endswith(".html") else (store, REPORT)
