"""The report: everything in it, nothing from elsewhere, and nothing that could run."""

import base64
import copy
import html.parser
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from au_dist.core.errors import RecipeError, StorageError
from au_dist.scoring.report import (
    PAD_L,
    PAD_T,
    PLOT_H,
    PLOT_W,
    number,
    percent,
    plots,
    render,
    share,
    ticks,
    write_report,
)
from au_dist.storage.store import open_store

EVIL = "<script>alert('x')</script>\"&"

REPORT = {
    "run": "s3://bucket/runs/demo",
    "name": "demo",
    "checkpoint": "s3://bucket/runs/demo/checkpoints/step-00000040",
    "step": 40,
    "recipe": {"name": "demo", "optim": {"lr": 0.002}, "init": None},
    "protocol": {"kind": "kfold", "fold": 1},
    "stamp": "thresholds and checkpoint chosen on 8 validation subjects; 12 test subjects never chose anything",
    "subjects": {"train": 28, "validation": 8, "test": 12},
    "rows_scored": 12345,
    "rows_expected": 12345,
    "aus": [
        {"au": 12, "name": "AU12", "f1": 0.7171, "auc": 0.8182, "prevalence": 0.2393, "all_positive_f1": 0.3861,
         "threshold": 0.6162, "frames": 3210},
        {"au": 24, "name": "AU24", "f1": None, "auc": float("nan"), "prevalence": 0.0, "all_positive_f1": 0.0,
         "threshold": 0.5, "frames": 3210},
    ],
    "average": {"f1": 0.7171, "auc": 0.8182, "prevalence": 0.1197, "all_positive_f1": 0.1931},
    "curves": {
        "train": [{"step": step, "loss": 1 / step} for step in range(1, 81)],
        "validation": [{"step": 40, "val_f1": 0.6, "val_auc": 0.7}, {"step": 80, "val_f1": 0.5, "val_auc": None}],
    },
    "versions": {"torch": "2.15.0"},
}  # fmt: skip

COMPARISON = {
    "columns": ["seed 0", "seed 1"],
    "rows": [{"name": "pretraining + probe", "values": [0.6111, None], "mean": 0.6111, "spread": 0.0212}],
}


class Page(html.parser.HTMLParser):
    """Tags and texts of a page; knows whether every tag was closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "line", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return re.sub("[ \n]+", " ", " ".join(self.texts))


def changed(**changes):
    return {**copy.deepcopy(REPORT), **changes}


def test_everything_is_on_the_page():
    page = Page(render(changed(comparison=COMPARISON)))
    for wanted in (
        *("demo", "step-00000040 · step 40", REPORT["stamp"], "AU12", "lip corner puller", "0.717", "0.818", "23.9 %"),
        *("0.386", "0.616", "3\u202f210", "12\u202f345 rows", "seed 1", "pretraining + probe", "0.611", "0.021"),
        *("28 subjects trained, 8 validated, 12 tested", "optim.lr", "0.002", "kfold", "2.15.0", "Training loss"),
    ):
        assert wanted in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert sum(tag == "details" for tag, _ in page.tags) == 3
    assert all("open" not in attributes for tag, attributes in page.tags if tag == "details")


def test_what_is_not_known_is_a_dash():
    page = Page(render(REPORT))
    row = page.text.partition("AU24")[2]
    assert row.split()[:4] == ["lip", "pressor", "–", "–"]
    assert not re.search(r"\b(nan|None|inf)\b", page.text)


def test_optional_parts_may_be_absent():
    few = {key: REPORT[key] for key in ("name", "aus", "average")}
    page = Page(render(few))
    for title in ("Comparison", "Training", "Predictions"):
        assert title not in page.text
    assert "AU12" in page.text


def test_a_page_needs_nothing_else_and_runs_nothing(tmp_path):
    Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(tmp_path / "p.png")
    text = render(changed(pictures=[{"title": "p", "path": str(tmp_path / "p.png")}], comparison=COMPARISON))
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form", "a"}
    for _, attributes in page.tags:
        assert all(not name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?:", text)


def test_pictures_are_inside(tmp_path):
    Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(tmp_path / "p.png")
    page = Page(render(changed(pictures=[{"title": EVIL, "path": str(tmp_path / "p.png")}])))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    kind, _, data = image["src"].partition(";base64,")
    assert kind == "data:image/png"
    assert base64.b64decode(data) == (tmp_path / "p.png").read_bytes()
    assert image["alt"] == EVIL


def test_text_stays_text():
    evil = changed(
        name=EVIL, stamp=EVIL, run=EVIL, checkpoint=EVIL, recipe={EVIL: EVIL}, versions={EVIL: EVIL},
        comparison={"columns": [EVIL], "rows": [{"name": EVIL, "values": [1.0], "mean": 1.0, "spread": 0.0}]},
        aus=[{**REPORT["aus"][0], "name": EVIL}],
    )  # fmt: skip
    text = render(evil)
    assert "<script" not in text
    assert Page(text).text.count(EVIL) >= 10


def test_unscored_rows_are_shouted():
    assert "Only 12\u202f000 of 12\u202f345 rows were scored" in Page(render(changed(rows_scored=12000))).text
    assert "rows were scored" not in Page(render(REPORT)).text


def test_bars_are_as_long_as_their_numbers():
    bars = re.findall(r'<i style="width:([0-9.]+)%">', render(REPORT))
    assert bars == ["71.71", "81.82", "23.93", "0.0", "0.0", "0.0"]
    assert (share(1.7), share(-1.0), share(math.nan), share(None)) == (100, 0, 0, 0)
    assert (number(math.inf), percent(math.nan), percent(0.5)) == ("–", "–", "50.0 %")


def test_curves_are_drawn_to_scale():
    loss, validation = plots(REPORT["curves"], 40)
    points = [tuple(map(float, point.split(","))) for point in loss.lines[0][2].split()]
    assert len(points) == 80
    assert all(PAD_L <= x <= PAD_L + PLOT_W and PAD_T <= y <= PAD_T + PLOT_H for x, y in points)
    assert points[-1][0] == PAD_L + PLOT_W
    # 1 / step: linear in the reciprocal of the step axis.
    marks = dict((float(text), place) for place, text in loss.marks)
    assert points[0][1] == pytest.approx(marks[1.0], abs=0.1)
    assert points[1][1] == pytest.approx((marks[0.0] + marks[1.0]) / 2, abs=0.1)
    assert loss.chosen == pytest.approx(PAD_L + PLOT_W / 2, abs=0.1)
    assert [(name, last) for name, last, _ in validation.lines] == [("AUC", 0.7), ("F1", 0.5)]
    assert plots({}, 3) == []
    assert len(plots({"train": [{"step": s, "loss": 2.0} for s in range(5000)]}, None)[0].lines[0][2].split()) <= 400


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_enclose_and_are_few(low, length):
    marks = ticks(low, low + length)
    assert 2 <= len(marks) <= 8
    slack = 1e-6 * max(1.0, abs(low), length)
    assert marks[0] <= low + slack
    assert marks[-1] >= low + length - slack


@pytest.mark.parametrize("missing", ["name", "aus", "average"])
def test_what_is_no_report_is_refused(missing):
    broken = changed()
    del broken[missing]
    if missing == "aus":
        broken["aus"] = [{"au": 12, "name": "AU12"}]
    with pytest.raises(RecipeError, match="not the report of an evaluation"):
        render(broken)


def test_pictures_that_cannot_be_shown_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="kind"):
        render(changed(pictures=[{"title": "v", "path": str(tmp_path / "v.mp4")}]))
    with pytest.raises(StorageError):
        write_report(tmp_path / "out", changed(pictures=[{"title": "v", "path": str(tmp_path / "v.png")}]))
    assert not (tmp_path / "out").exists()


def test_where_it_is_written(tmp_path):
    assert write_report(tmp_path / "a", REPORT) == str(tmp_path / "a" / "report.html")
    assert write_report(str(tmp_path / "b.html"), REPORT) == str(tmp_path / "b.html")
    assert write_report(open_store(tmp_path / "c"), REPORT) == str(tmp_path / "c" / "report.html")
    assert (tmp_path / "a" / "report.html").read_text() == render(REPORT) == (tmp_path / "b.html").read_text()
