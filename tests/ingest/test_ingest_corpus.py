"""A corpus becomes a set of shards on Ray: what is done stays done, and one bad recording stops nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import corpus_trees as trees
import pytest

from au_dist.checks.doctor import examine
from au_dist.core.errors import IngestError, ShardError
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.options import Options
from au_dist.corpora.tree import look
from au_dist.ingest import corpus as job
from au_dist.ingest.corpus import ingest_corpus
from au_dist.ingest.how import Crops, recipe_for
from au_dist.ingest.origins import origin_of
from au_dist.shards.format import read_manifest
from au_dist.storage.store import open_store
from au_dist.video.video_spec import VideoSpec

pytestmark = pytest.mark.ray

SUBJECTS = ("SN001", "SN002", "SN010", "SN003")
PLAIN = VideoSpec(detector="none", clip_frames=4, max_faces=1, detect_side=320)


def run(root, out, corpus="disfa", **options):
    found = CORPORA[corpus].find(look(root), Options())
    recipe = recipe_for(corpus, found, Options(), PLAIN, Crops(size=64))
    return ingest_corpus(found, open_store(out), recipe, parallel=2, **options)


def content(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in Path(out).rglob("*.parquet")} | {
        "manifest.json": (Path(out) / "manifest.json").read_bytes()
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return trees.disfa(tmp_path_factory.mktemp("disfa"), SUBJECTS)


@pytest.fixture(scope="module")
def undisturbed(tree, tmp_path_factory, ray_here):
    out = tmp_path_factory.mktemp("undisturbed") / "set"
    return out, *run(tree, out)


def test_a_corpus_becomes_a_set_without_faults(undisturbed):
    out, manifest, summary = undisturbed
    assert not examine(open_store(out)).faults
    assert manifest.clips == 6 + 6 + 5 + 6
    assert list(manifest.subjects) == sorted(f"disfa/{name}" for name in SUBJECTS)
    assert manifest.source["coded_frames"] == 4 * 24 - 1
    assert summary.total("clip_labelled") == manifest.frames
    assert not (out / "parts").exists() or not list((out / "parts").rglob("*.parquet"))
    kept = json.loads((out / "ingest.json").read_text())
    assert [row["name"] for row in kept["recordings"]] == sorted(f"disfa/{name}/{name}" for name in SUBJECTS)


def test_the_same_again_does_nothing_and_another_set_is_refused(undisturbed, tree):
    out, manifest, _ = undisturbed
    before = content(out)
    again, summary = run(tree, out)
    assert again == manifest
    assert summary.done_before == 4
    assert content(out) == before
    found = CORPORA["disfa"].find(look(tree), Options(threshold=1))
    other = recipe_for("disfa", found, Options(threshold=1), PLAIN)
    with pytest.raises(ShardError, match="already holds other shards"):
        ingest_corpus(found, open_store(out), other, parallel=1)


def test_a_set_that_lost_a_shard_is_not_said_to_be_there(undisturbed, tree, tmp_path):
    out = shutil.copytree(undisturbed[0], tmp_path / "set")
    next(out.rglob("*.parquet")).unlink()
    with pytest.raises(ShardError, match=r"missing or cut short.*--replace"):
        run(tree, out)
    assert run(tree, out, anew=True)[0] == undisturbed[1]


@pytest.mark.s3
@pytest.mark.slow
def test_object_storage_holds_the_same_set_and_no_parts(undisturbed, tree, s3_store, monkeypatch):
    for name, text in s3_store.environment.items():
        monkeypatch.setenv(name, text)
    address = f"s3://{s3_store.bucket}/ingested"
    command = [sys.executable, "-m", "au_dist", "ingest", "disfa", str(tree), "--out", address, "--clip-frames", "4"]
    done = subprocess.run([*command, "--detector", "none", "--size", "64"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = open_store(address)
    assert read_manifest(out) == undisturbed[1]
    assert out.list("parts") == []
    assert not examine(out).faults


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3])
def test_what_is_done_is_not_done_again_and_the_shards_are_the_same(undisturbed, tree, tmp_path, after):
    def stop(report, done, total):
        if done == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tree, tmp_path, show=stop)
    assert not (tmp_path / "manifest.json").exists()
    seen = []
    _, summary = run(tree, tmp_path, show=lambda report, done, total: seen.append(report.name))
    assert summary.done_before >= after
    assert len(seen) == 4 - summary.done_before
    assert content(tmp_path) == content(undisturbed[0])


def test_changed_labels_are_read_again(tmp_path, ray_here):
    root = trees.disfa(tmp_path / "tree", ("SN001", "SN002"))
    with pytest.raises(StoppedError):
        run(root, tmp_path / "set", show=stop_at_the_end)
    label = root / "ActionUnit_Labels/SN001/SN001_au12.txt"
    label.write_text(trees.pairs([5] * 24))
    manifest, summary = run(root, tmp_path / "set")
    assert summary.done_before == 1
    column = trees.DISFA_AUS.index(12)
    assert manifest.subjects["disfa/SN001"].positive[column] == 24


def test_files_that_change_while_they_are_read_lose_nothing(tmp_path, ray_here):
    root = trees.disfa(tmp_path / "tree", ("SN001", "SN002"))

    def touch(report, done, total):
        for path in root.rglob("*.txt"):
            os.utime(path, (done, done))

    manifest, _ = run(root, tmp_path / "set", show=touch)
    assert len(manifest.subjects) == 2


def test_a_part_belongs_to_its_files_and_options(tmp_path):
    root = trees.bp4d(tmp_path)
    folders = []
    for change in (lambda: None, lambda: (root / "Sequences(2D+3D)/F001/T1/0060.jpg").write_bytes(b"other")):
        change()
        found = CORPORA["bp4d"].find(look(root), Options())
        for size in (64, 80):
            recipe = recipe_for("bp4d", found, Options(), PLAIN, Crops(size=size))
            folders += [job.part_folder(some, recipe, origin_of(some, recipe)) for some in found.sequences]
    # Of four pairs, the second recording did not change with the first one's picture.
    assert len(set(folders)) == 6


def test_a_set_of_other_crops_or_recordings_is_not_this_one(undisturbed, tree, tmp_path):
    out, *_ = undisturbed
    found = CORPORA["disfa"].find(look(tree), Options())
    with pytest.raises(ShardError, match=r"already holds other shards.*'size': 80"):
        ingest_corpus(found, open_store(out), recipe_for("disfa", found, Options(), PLAIN, Crops(size=80)), parallel=1)
    fewer = replace(found, sequences=found.sequences[1:])
    with pytest.raises(ShardError, match="gone: disfa/SN001/SN001"):
        ingest_corpus(fewer, open_store(out), recipe_for("disfa", fewer, Options(), PLAIN, Crops(size=64)), parallel=1)


def test_recordings_and_labels_of_different_people_are_nothing(tmp_path, ray_here):
    trees.put(tmp_path / "F001/T1/0001.jpg", b"x")
    trees.put(tmp_path / "AU_OCC/F001_T2.csv", "x")
    with pytest.raises(IngestError, match=r"no recording with labels.*1 recordings have no labels.*F001/T1"):
        run(tmp_path, tmp_path / "set", "bp4d")


def test_whatever_is_wrong_with_a_recording_stops_no_other(tmp_path, ray_here):
    root = trees.disfa(tmp_path / "tree", ("SN001", "SN002", "SN003", "SN004", "SN005"))
    labels = root / "ActionUnit_Labels"
    (labels / "SN002/SN002_au1.txt").write_text("1,0\n2,inf\n")
    (labels / "SN003/SN003_au1.txt").write_bytes(bytes(2000))
    (root / "Videos_LeftCamera/LeftVideoSN004_comp.avi").unlink()
    (root / "Videos_LeftCamera/LeftVideoSN004_comp.avi").symlink_to(tmp_path / "gone")
    (labels / "SN005/SN005_au1.txt").write_text(trees.pairs([0] * 20))
    manifest, summary = run(root, tmp_path / "set", most_aside=0.9)
    assert list(manifest.subjects) == ["disfa/SN001"]
    why = [summary.aside[f"disfa/SN00{k}/SN00{k}"] for k in (2, 3, 4, 5)]
    for text, expected in zip(why, ("line 2", "zero bytes", "no such file", "20 for AU01"), strict=True):
        assert expected in text
    assert (summary.total("frames"), summary.total("labelled"), manifest.source["coded_frames"]) == (24, 24, 24)


def test_single_pictures_that_are_face_crops_are_refused(tmp_path, ray_here):
    for k, face in enumerate(trees.person(0, 30).face_T):
        trees.put(tmp_path / "faces" / f"{k}.jpg", trees.jpeg(face))
    found = CORPORA["video"].find(look(tmp_path / "faces"), Options())
    recipe = recipe_for("video", found, Options(), VideoSpec(clip_frames=1, detect_side=160))
    with pytest.raises(IngestError, match=r"face crops already.*--already-cropped.*--detector none.*--crop-again"):
        ingest_corpus(found, open_store(tmp_path / "set"), recipe, parallel=2)


def stop_at_the_end(report, done, total):
    if done == total:
        raise StoppedError


def test_one_bad_recording_is_set_aside_and_too_many_end_the_ingest(tmp_path, ray_here):
    root = trees.disfa(tmp_path / "tree")
    (root / "Videos_LeftCamera/LeftVideoSN002_Comp.avi").write_bytes(b"RIFF torn")
    manifest, summary = run(root, tmp_path / "set")
    assert list(manifest.subjects) == ["disfa/SN001", "disfa/SN010"]
    ((name, why),) = summary.aside.items()
    assert name == "disfa/SN002/SN002"
    assert "cannot be opened" in why
    with pytest.raises(IngestError, match=r"at most 20% of 3 set aside.*run the same command again"):
        run(root, tmp_path / "strict", most_aside=0.2)
    assert not (tmp_path / "strict/manifest.json").exists()


def test_a_recording_that_kills_its_process_is_set_aside(tmp_path, ray_here, monkeypatch):
    root = trees.disfa(tmp_path / "tree", ("SN001", "SN002", "SN003"))
    found = CORPORA["disfa"].find(look(root), Options())
    spec = VideoSpec(detector="deadly_detector:open_deadly", clip_frames=4)
    (tmp_path / "deadly_detector.py").write_text(
        "import os, signal\n"
        "from au_dist.video.faces import Face\n"
        "import numpy as np\n"
        "def open_deadly(**options):\n"
        "    def detect(frame):\n"
        f"        if os.path.exists({str(tmp_path / 'on')!r}) and frame.rgb_HWC[0, 0, 0] > 200:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return [Face(np.array([60, 40, 160, 160], np.float32), np.array([[85, 80], [135, 80], [110, 105],"
        " [90, 130], [130, 130]], np.float32), 1.0)]\n"
        "    return detect\n"
    )
    white = tuple(scene // 4 + 191 for scene in trees.person(1, 24).scene_T)
    trees.film(root / "Videos_LeftCamera/LeftVideoSN002_Comp.avi", white, 20)
    (tmp_path / "on").touch()
    recipe = recipe_for("disfa", found, Options(), spec, Crops(size=64))
    plain = job._take_one

    def with_path(*given):
        sys.path.insert(0, str(tmp_path))
        return plain(*given)

    monkeypatch.setattr(job, "_take_one", with_path)
    manifest, summary = ingest_corpus(found, open_store(tmp_path / "set"), recipe, parallel=2)
    assert list(manifest.subjects) == ["disfa/SN001", "disfa/SN003"]
    assert "ended twice" in summary.aside["disfa/SN002/SN002"]


@pytest.mark.slow
def test_killed_at_any_moment_the_command_goes_on_to_the_same_bytes(undisturbed, tree, tmp_path, joined):
    out = tmp_path / "set"
    command = [sys.executable, "-m", "au_dist", "ingest", "disfa", str(tree), "--out", str(out), "--clip-frames", "4"]
    command += ["--detector", "none", "--size", "64"]
    for seconds in (3.0, 4.5):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "23 clips of 4 frames, 4 subjects" in done.stdout
    mine, theirs = content(out), content(undisturbed[0])
    assert mine == theirs
    assert read_manifest(open_store(out)).sha256 == read_manifest(open_store(undisturbed[0])).sha256
