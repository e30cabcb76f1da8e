"""Every benchmark runs in its tiny form and prints its table. The numbers are no measurements: only the way is tried.

What the tiny forms leave out:

- `loss.py`: the Triton kernels where there is no GPU, and sets of more than 64 candidates.
- `gpu.py`: what is measured on a GPU; here the same processes on a CPU, with the small encoder.
- `ingest.py`: DISFA's video, crops of 224 px, and memory against a recording's length.
- `loader.py`: processes of their own, the peers that are not installed, all frames of a clip, more than one round.
- `loader_memory.py`: a process of its own, so the processes' memory is that of the tests too.
- `loader_s3.py`: S3 without faults, a store that is only far away, and late answers.
- `campaign.py`: trials at once, and all but one of them.
- `resume.py`: nine of the ten kills. Here the runs join a Ray that is there, so a kill takes the driver alone.
- `faults.py`: every fault but a killed worker, of one; so S3, several nodes, the full disk and the spoilt clip.
- `methods.py`: here only the cross-entropy of `noise` is trained and scored; of what else is compared, here only the
  recipes and the tables are tried.

Those that start Ray in a process of their own join the one of these tests.
"""

import ast
import math
import re
import sys
import typing
from pathlib import Path

import campaign
import campaign_faults
import fault_runs
import faults
import gpu
import ingest
import loader
import loader_memory
import loader_s3
import loss
import methods
import mixing
import overhead
import pytest
import ray
import resume
import synth

from au_dist.cluster.local_s3 import server as s3
from au_dist.storage.store import open_store
from au_dist.train import events

FOLDER = Path(__file__).parents[2] / "benchmarks"

SCRIPTS = (
    campaign, campaign_faults, faults, gpu, ingest, loader, loader_memory, loader_s3, loss, methods, mixing, overhead,
    resume, synth,
)  # fmt: skip


def table(text: str, numbers: int) -> list[list[str]]:
    """Return the rows of the Markdown tables in a text without their heads; each must have so many finite numbers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {k for k, line in enumerate(lines[1:]) if re.fullmatch(r"\|[-| ]+", line)}
    assert heads, text
    lines = [line for k, line in enumerate(lines) if k not in heads and k - 1 not in heads]
    for line in lines:
        assert len(finite(line)) >= numbers, line
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def finite(line: str) -> list[float]:
    """Return the numbers of a line, none of which is infinite or none at all."""
    assert not re.search(r"\b(nan|inf)\b", line), line
    found = [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", line)]
    assert all(math.isfinite(number) for number in found)
    return found


def test_every_file_is_a_benchmark_with_a_tiny_form_or_a_part_of_one():
    scripts = {Path(script.__file__).name for script in SCRIPTS}
    used = set()
    for name in scripts:
        for node in ast.walk(ast.parse((FOLDER / name).read_text())):
            used |= {f"{alias.name}.py" for alias in node.names} if isinstance(node, ast.Import) else set()
            used |= {f"{node.module}.py"} if isinstance(node, ast.ImportFrom) else set()
        assert '"--tiny"' in (FOLDER / name).read_text(), name
        assert f"python benchmarks/{name}" in (FOLDER / name).read_text(), name
    assert {path.name for path in FOLDER.glob("*.py")} <= scripts | used


def test_the_speed_of_synthetic_faces(capsys):
    synth.main(["--tiny"])
    text = capsys.readouterr().out
    assert text.startswith("128 frames of 32 px: ")
    assert finite(text)[2] > 0


def test_how_an_epoch_is_mixed(capsys):
    mixing.main(["--tiny"])
    rows = table(capsys.readouterr().out, numbers=3)
    assert [row[1] for row in rows] == ["1", "8", "full shuffle"] * 3
    for one, eight, whole in (rows[:3], rows[3:6], rows[6:]):
        assert float(one[2]) < float(eight[2]) < float(whole[2]), one[0]


@pytest.mark.slow
def test_the_picture_of_an_epoch(tmp_path):
    mixing.main(["--picture", str(tmp_path / "order.png")])
    assert (tmp_path / "order.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_forms_of_the_loss_have_one_value_and_one_gradient(capsys):
    loss.main(["--tiny"])
    _, head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("seconds  MiB above start  loss      gradient   time   memory")
    assert [line.split()[:3] for line in lines] == [["drawn", "64", "dense"], ["drawn", "64", "plain"]]
    dense, plain = (finite(line) for line in lines)
    assert dense[1] > 0
    assert plain[1] > 0
    assert plain[3:5] == pytest.approx(dense[3:5], abs=2e-6)


@pytest.mark.slow
def test_the_report_of_a_gpu_has_a_row_for_everything(tmp_path, capsys):
    gpu.main(["--tiny", "--out", str(tmp_path / "gpu.md")])
    capsys.readouterr()
    text = (tmp_path / "gpu.md").read_text()
    ((_, images, rate, _, _, value),) = table(text, numbers=4)
    assert (images, float(rate) > 0) == ("16", True)
    assert math.isfinite(float(value))
    assert re.search(r"operations a second: bf16 [\d.e+-]+, tf32", text)
    assert re.search(r"JPEGs a second: \d+ by one core", text)
    assert "drawn               64     plain" in text


@pytest.mark.slow
def test_what_takes_too_long_or_fails_is_a_row(tmp_path, capsys):
    report = gpu.Report(60, tmp_path / "gpu.partial")
    wrong = gpu.replace(gpu.tiny(gpu.PLAIN), name="no such encoder", encoder="none")
    peak = {"bf16": 1.0}
    assert "Error" in gpu._row(report, wrong, "cpu", peak)
    said, why = report.run([sys.executable, "-uc", "import time; print('begun'); time.sleep(60)"], 5.5)
    assert (said, why) == ("begun\n", "stopped after 6 s")
    assert len((tmp_path / "gpu.partial").read_text().splitlines()) == 1
    report.ends = 0.0
    assert gpu._row(report, gpu.PLAIN, "cpu", peak) == "not run: no time was left"
    assert [line.count("|") for line in report.lines] == [7, 7]
    capsys.readouterr()


@pytest.mark.slow
def test_the_stages_of_taking_in(capsys):
    ingest.main(["--tiny"])
    *stages, memory = table(capsys.readouterr().out, numbers=2)
    assert [row[0] for row in stages] == ["BP4D pictures, 1040x1392", "web video, 640x360"]
    for row in stages:
        assert float(row[3]) > 0
        assert 97 <= sum(finite(" ".join(row[4:]))) <= 103
    assert memory[0] == "6"


@pytest.mark.slow
@pytest.mark.ray
def test_loaders_side_by_side(ray_here, capsys):
    loader.main(["--tiny"])
    text = capsys.readouterr().out
    left_out = text.splitlines()[0].removeprefix("left out, not installed: ").split(", ")
    rows = table(text, numbers=3)
    assert {row[0] for row in rows} == {loader.FLOOR, loader.OURS, *loader.kinds.PEERS} - set(left_out)
    assert "torch DataLoader, folder" in [row[0] for row in rows]
    assert [len(finite(" ".join(row[4:]))) for row in rows if row[0] == loader.OURS] == [4]


@pytest.mark.slow
@pytest.mark.ray
def test_memory_while_the_consumer_is_slow(ray_here, capsys):
    loader_memory.main(["--tiny"])
    ((clips, share, limit, store, _, resident),) = table(capsys.readouterr().out, numbers=6)
    assert (clips, share) == ("256", "0.3")
    assert float(limit) == 96
    assert float(store) > 0
    assert float(resident) > 0


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.s3
def test_reading_from_a_store_that_refuses(joined, capsys):
    if absent := s3.missing_binaries():
        pytest.skip(f"no S3 server: {', '.join(absent)} not installed (python -m au_dist.cluster.local_s3 install)")
    loader_s3.main(["--tiny"])
    folder, refusing = table(capsys.readouterr().out, numbers=3)
    assert (folder[0], refusing[0]) == loader_s3.FEW
    assert float(refusing[2]) > 0
    assert re.fullmatch(r"[1-9]\d* passed, [1-9]\d* refused", refusing[5])


@pytest.mark.slow
@pytest.mark.ray
def test_what_a_step_costs_beside_bare_pytorch(ray_here, capsys):
    ray.cloudpickle.register_pickle_by_value(overhead)  # the workers of this Ray cannot import it
    try:
        overhead.main(["--tiny"])
    finally:
        ray.cloudpickle.unregister_pickle_by_value(overhead)
    rows = table(capsys.readouterr().out, numbers=4)
    assert [row[0] for row in rows] == [
        "Ray Train and DeepSpeed, beside PyTorch alone",
        "a checkpoint every 2 steps, beside none",
    ]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_run_that_is_killed_misses_no_clip_and_draws_none_too_often(joined, capsys):
    assert not resume.main(["--tiny"])
    text = capsys.readouterr().out
    first, last = table(text, numbers=5)
    assert first[:3] == ["1", "1", "0"]
    assert first[4] == "killed"
    assert last[4] == "ended by itself"
    assert last[2] == first[3] != "0"
    assert "no clip is missing, none is there too often" in text


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_run_that_loses_a_worker_has_weights_and_ledger_of_one_in_peace(joined, capsys):
    faults.main(["--tiny"])
    text = capsys.readouterr().out
    assert text.startswith("undisturbed: 30 steps in ")
    ((name, happened, pause, again, weights, ledger, said),) = table(text, numbers=3)
    assert name == "a worker is killed"
    assert happened.startswith("1 × the command; on from ")
    assert float(pause) >= 0
    assert int(again) >= 0
    assert (weights, ledger) == ("equal", "equal")
    assert "its process is gone" in said


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_trials_have_the_weights_of_the_same_recipes_by_themselves(joined, capsys):
    campaign.main(["--tiny"])
    plain, trials = table(capsys.readouterr().out, numbers=3)
    assert plain[0] == "a loop of `au-dist train`"
    assert trials[0] == "a campaign, one trial at a time"
    assert trials[7] == "1 of 1"
    assert float(trials[4]) > 0
    assert float(trials[5]) > 0


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_campaign_whose_driver_is_killed_comes_to_the_same_end(joined, capsys):
    campaign_faults.main(["--tiny"])
    text = capsys.readouterr()
    plain, killed = table(text.out, numbers=3)
    assert killed[0] == "folder, driver killed 1 times"
    assert plain[1] == killed[1], text.err
    assert plain[2] == killed[2] == "0 and 0", text.err
    assert plain[4] == killed[4] == "nothing"


def test_faults_know_every_event_of_a_run():
    step = events.StepDone(
        step=3, steps=9, epoch=0.5, loss=1.0, grad_norm=1.0, loss_scale=None, lr=0.1, clips_per_s=1, step_s=1,
        data_wait=0, eta_s=1, skipped_clips=("a",),
    )  # fmt: skip
    shown = [
        step,
        events.Validated(step=3, metrics={"val_f1": 0.5}),
        events.Stored(step=3, bytes=1, seconds=0.1),
        events.Resumed(3),
        events.CheckpointDamaged("a file"),
        events.Waiting("rank 0"),
        events.NodesDraining("a node"),
        events.WorkersLost("rank 1"),
        events.Noted("a unit"),
    ]
    assert {type(event) for event in shown} == set(typing.get_args(events.Event))
    lines = [fault_runs.line(event) for event in shown]
    assert [line for line in lines if "lr" in line] == [step.row()]
    assert [line["step"] for line in lines if line.get("resumed")] == [3]
    said = {"damaged": "a file", "late": "rank 0", "draining": "a node", "lost": "rank 1", "noted": "a unit"}
    assert lines[4:] == [{key: words} for key, words in said.items()]


@pytest.mark.slow
@pytest.mark.ray
def test_methods_side_by_side(ray_here, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(methods, "aunce", lambda *_, **__: {"auc": 0.25, "f1": 0.125})
    methods.main(["noise", "--tiny", "--out", str(tmp_path)])
    rows = table(capsys.readouterr().out, numbers=4)
    assert [row[:2] for row in rows] == [["0%", "AUNCE, linear probe"], ["0%", "cross-entropy"]]
    assert rows[0][2:] == ["0.250 ± 0.000", "0.250", "0.125 ± 0.000", "0.125"]
    assert 0 < float(rows[1][3]) < 1


def test_differences_are_taken_seed_by_seed():
    mine, plain = [{"auc": 0.7}, {"auc": 0.9}], [{"auc": 0.5}, {"auc": 0.8}]
    assert methods.paired(mine, plain, "auc") == "+0.150 ± 0.071"
    assert methods.paired(plain, mine, "auc") == "-0.150 ± 0.071"
    assert methods.paired(plain, plain, "auc") == methods.paired(mine, [], "auc") == "–"


@pytest.mark.parametrize(
    ("name", "scale", "runs", "again", "rows"),
    [
        ("grid", methods.FULL, 225, 45, 75),  # a pretraining is probed and fine-tuned
        ("grid", methods.TINY, 75, 15, 75),
        ("noise", methods.FULL, 36, 0, 8),
        ("modes", methods.FULL, 12, 0, 2),
        ("modes", methods.TINY, 4, 0, 2),
        ("intensity", methods.FULL, 21, 0, 6),
        ("intensity", methods.TINY, 3, 0, 2),
        ("motion", methods.FULL, 27, 0, 6),
    ],
)
def test_the_recipes_of_each_comparison_are_whole(monkeypatch, tmp_path, name, scale, runs, again, rows):
    seen = []

    def run(study, recipe):
        seen.append(recipe.name)
        return dict.fromkeys(("auc", "f1", "icc", "mse", "mae", "ridge_auc", "ridge_f1"), 0.5)

    monkeypatch.setattr(methods, "run", run)
    head, *found = getattr(methods, name)(methods.Study(open_store(tmp_path), scale))
    assert (len(set(seen)), len(seen) - len(set(seen))) == (runs, again)
    assert len(found) == rows
    assert {len(row) for row in found} == {len(head)}
