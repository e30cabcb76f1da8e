"""A corpus that changed after its set was made: it is said what changed, and the set made anew is that of now."""

import json
import os
from pathlib import Path

import corpus_trees as trees
import pytest

from au_dist.checks.doctor import examine
from au_dist.core.errors import ShardError
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.options import Options
from au_dist.corpora.tree import look
from au_dist.ingest import corpus as job
from au_dist.ingest.corpus import ingest_corpus
from au_dist.ingest.how import Crops, recipe_for
from au_dist.shards.format import read_manifest
from au_dist.storage.store import open_store
from au_dist.video.video_spec import VideoSpec

pytestmark = pytest.mark.ray

SPEC = VideoSpec(detector="none", clip_frames=4, max_faces=1, detect_side=320)


def run(root, out, corpus="disfa", size=64, **options):
    found = CORPORA[corpus].find(look(root), Options())
    recipe = recipe_for(corpus, found, Options(), SPEC, Crops(size=size))
    return ingest_corpus(found, open_store(out), recipe, parallel=2, **options)


def files(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}


def content(out):
    return {name: data for name, data in files(out).items() if name != "ingest.json"}


def correct(root, name="SN001", frames=24):
    (root / f"ActionUnit_Labels/{name}/{name}_au12.txt").write_text(trees.pairs([5] * frames))


@pytest.fixture
def made(tmp_path, ray_here):
    root, out = trees.disfa(tmp_path / "tree"), tmp_path / "set"
    run(root, out)
    return root, out


def replaced(root, out):
    """Make a set anew; return the recordings that were read."""
    seen = []
    run(root, out, anew=True, show=lambda report, done, total: seen.append(report.name))
    return sorted(seen)


def test_a_corrected_label_file_is_named_and_the_set_stays_until_it_is_replaced(made, tmp_path):
    root, out = made
    before = files(out)
    correct(root)
    with pytest.raises(ShardError, match=r"labels changed: disfa/SN001/SN001\..*--replace"):
        run(root, out)
    assert files(out) == before
    assert replaced(root, out) == ["disfa/SN001/SN001"]
    run(root, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")
    assert json.loads((out / "ingest.json").read_text())["manifest"] == read_manifest(open_store(out)).sha256
    assert not examine(open_store(out)).unlisted
    again = files(out)
    _, summary = run(root, out)
    assert summary.notes == ["The set was there already; nothing was done."]
    assert replaced(root, out) == []
    assert files(out) == again


def test_videos_that_changed_came_or_went_are_named(made, tmp_path):
    root, out = made
    trees.film(root / "Videos_LeftCamera/LeftVideoSN001_comp.avi", trees.person(2, 24).scene_T, 20)
    for path in (root / "ActionUnit_Labels/SN002").iterdir():
        path.unlink()
    trees.disfa(tmp_path / "more", ("SN003",))
    for path in (tmp_path / "more").rglob("*SN003*"):
        if path.is_file():
            target = root / path.relative_to(tmp_path / "more")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    with pytest.raises(ShardError) as error:
        run(root, out)
    for words in (
        "video or pictures changed: disfa/SN001/SN001",
        "added: disfa/SN003/SN003",
        "gone: disfa/SN002/SN002",
    ):
        assert words in str(error.value)
    assert replaced(root, out) == ["disfa/SN001/SN001", "disfa/SN003/SN003"]
    run(root, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")


def test_a_corpus_that_was_only_copied_is_the_same_and_it_is_said(made):
    root, out = made
    before = files(out)
    for path in root.rglob("*SN00*"):
        os.utime(path, (1, 1))
    _, summary = run(root, out)
    assert any("disfa/SN001/SN001, disfa/SN002/SN002 have other times" in note for note in summary.notes)
    assert files(out) == before


def test_a_video_of_the_same_size_is_another(made):
    root, out = made
    path = root / "Videos_LeftCamera/LeftVideoSN001_comp.avi"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match="video or pictures changed: disfa/SN001/SN001"):
        run(root, out)


def test_a_set_of_before_says_what_could_not_be_compared(made, tmp_path):
    root, out = made
    kept = json.loads((out / "ingest.json").read_text())
    for key in ("origins", "manifest", "version", "replaced"):
        del kept[key]
    (out / "ingest.json").write_text(json.dumps(kept))
    correct(root)
    _, summary = run(root, out)
    assert any("only their names could be compared" in note for note in summary.notes)
    assert len(replaced(root, out)) == 3
    run(root, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")


def test_a_recording_that_was_set_aside_is_read_when_it_is_mended(tmp_path, ray_here):
    root, out = trees.disfa(tmp_path / "tree"), tmp_path / "set"
    label = root / "ActionUnit_Labels/SN002/SN002_au1.txt"
    whole = label.read_text()
    label.write_text("1,0\n2,inf\n")
    assert len(run(root, out)[1].aside) == 1
    assert replaced(root, out) == ["disfa/SN002/SN002"]
    label.write_text(whole)
    with pytest.raises(ShardError, match="labels changed: disfa/SN002/SN002"):
        run(root, out)
    assert replaced(root, out) == ["disfa/SN002/SN002"]
    assert len(read_manifest(open_store(out)).subjects) == 3


def test_other_options_make_a_set_anew_only_when_asked(made, tmp_path):
    root, out = made
    with pytest.raises(ShardError, match=r"already holds other shards.*--replace"):
        run(root, out, size=80)
    run(root, out, size=80, anew=True)
    run(root, tmp_path / "fresh", size=80)
    assert content(out) == content(tmp_path / "fresh")


def test_a_set_of_another_corpus_is_never_replaced(made, tmp_path):
    _, out = made
    before = files(out)
    with pytest.raises(ShardError, match="importer bp4d") as error:
        run(trees.bp4d(tmp_path / "bp4d"), out, "bp4d", anew=True)
    assert "--replace" not in str(error.value)
    assert files(out) == before


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("moment", ["reading", "publishing", "clearing up"])
def test_stopped_at_any_moment_there_is_one_set_and_the_command_goes_on(made, tmp_path, monkeypatch, moment):
    root, out = made
    old = read_manifest(open_store(out))
    correct(root)

    def stop(*_):
        raise StoppedError

    show = {"show": stop} if moment == "reading" else {}
    with monkeypatch.context() as patch:
        if moment == "publishing":
            patch.setattr("au_dist.shards.writer._published", stop)
        if moment == "clearing up":
            patch.setattr(job, "_clear_up", stop)
        with pytest.raises(StoppedError):
            run(root, out, anew=True, **show)
    there = read_manifest(open_store(out))
    assert not examine(open_store(out)).faults
    run(root, tmp_path / "fresh")
    new = read_manifest(open_store(tmp_path / "fresh"))
    assert there == (new if moment == "clearing up" else old)
    if moment == "clearing up":
        run(root, out)  # needs no --replace: the set is that of now
    else:
        run(root, out, anew=True)
    assert content(out) == content(tmp_path / "fresh")


def test_a_set_that_lost_a_shard_is_made_anew_from_the_recordings(made, tmp_path):
    root, out = made
    next((out / "shards").iterdir()).unlink()
    correct(root)
    assert len(replaced(root, out)) == 3
    run(root, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")


def test_tracks_of_people_that_nobody_names_are_taken_over(tmp_path, ray_here):
    """With a detector that sees two faces their clips alternate in a recording."""
    detector = tmp_path / "two.py"
    detector.write_text(
        "import numpy as np\n"
        "from au_dist.video.faces import Face\n"
        "FIVE = np.array([[40, 60], [80, 60], [60, 80], [45, 100], [75, 100]], np.float32)\n"
        "def two(**options):\n"
        "    return lambda frame: [Face(np.array([20 + x, 30, 100 + x, 130], np.float32),"
        " FIVE + np.array([x, 0], np.float32), 1.0) for x in (0, 110)]\n"
    )
    for index, name in enumerate(("a", "b#1")):
        trees.film(tmp_path / f"in/{name}.avi", trees.person(index, 24).scene_T, 20)

    def take(out, **options):
        found = CORPORA["video"].find(look(tmp_path / "in"), Options())
        spec = VideoSpec(detector=f"{detector}:two", clip_frames=4, min_face=10)
        recipe = recipe_for("video", found, Options(), spec, Crops(size=64))
        seen = []
        show = lambda report, done, total: seen.append(report.name)  # noqa: E731
        return ingest_corpus(found, open_store(out), recipe, parallel=2, show=show, **options)[0], seen

    first, _ = take(tmp_path / "set")
    assert len(first.subjects) == 4
    trees.film(tmp_path / "in/a.avi", trees.person(2, 24).scene_T, 20)
    with pytest.raises(ShardError, match=r"changed: video/a\.|changed: a\."):
        take(tmp_path / "set")
    assert take(tmp_path / "set", anew=True)[1] == ["a"]
    take(tmp_path / "fresh")
    assert content(tmp_path / "set") == content(tmp_path / "fresh")
    detector.write_text(detector.read_text().replace("110", "112"))
    with pytest.raises(ShardError, match="detector's code"):
        take(tmp_path / "set")
