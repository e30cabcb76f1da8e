"""What a recording came from is told apart by content where that is cheap, and never by where it lies."""

import os
import shutil
import zipfile
from dataclasses import replace

import corpus_trees as trees
import pytest

from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.options import Options
from au_dist.corpora.tree import look
from au_dist.ingest.how import recipe_for
from au_dist.ingest.origins import SAMPLE_BYTES, as_json, from_json, origin_of, samples_of
from au_dist.video.video_spec import VideoSpec


def kept(root, corpus):
    """The origins of a tree, with samples, as they go through JSON."""
    found = CORPORA[corpus].find(look(root), Options())
    recipe = recipe_for(corpus, found, Options(), VideoSpec(detector="none"))
    origins = {s.title: replace(origin_of(s, recipe), content=samples_of(s)) for s in found.sequences}
    return from_json(as_json(origins))


def changed(root, corpus, before):
    found = CORPORA[corpus].find(look(root), Options())
    recipe = recipe_for(corpus, found, Options(), VideoSpec(detector="none"))
    fields = {s.title: origin_of(s, recipe).changed(s, before[s.title]) for s in found.sequences}
    return {title: names for title, names in fields.items() if names}


def test_a_copy_is_the_same_and_each_change_is_that_of_its_recording(tmp_path):
    before = kept(trees.bp4d(tmp_path / "tree"), "bp4d")
    root = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "tree", root, copy_function=shutil.copyfile)
    assert changed(root, "bp4d", before) == {}
    picture = root / "Sequences(2D+3D)/F001/T1/0060.jpg"
    sound = picture.read_bytes()
    picture.write_bytes(sound + b"\0")
    assert changed(root, "bp4d", before) == {"bp4d/F001/F001_T1": ["sizes"]}
    picture.write_bytes(sound)
    label = root / "AUCoding/AU_INT/AU06/M009_T1_AU06.csv"
    time = label.stat().st_mtime_ns
    text = label.read_text()
    label.write_text(text[:-2] + ("1" if text[-2] != "1" else "2") + "\n")  # as long as before, and of the same time
    os.utime(label, ns=(time, time))
    assert changed(root, "bp4d", before) == {"bp4d/M009/M009_T1": ["labels"]}
    label.unlink()
    assert changed(root, "bp4d", before) == {"bp4d/M009/M009_T1": ["labels"]}


def test_each_of_many_pictures_is_looked_at(tmp_path):
    root = trees.bp4d(tmp_path)
    before = kept(root, "bp4d")
    for picture in sorted((root / "Sequences(2D+3D)/F001/T1").glob("*.jpg"))[::7]:
        sound = picture.read_bytes()
        picture.write_bytes(sound[:-40] + b"x" * 40)
        assert changed(root, "bp4d", before) == {"bp4d/F001/F001_T1": ["content"]}
        picture.write_bytes(sound)
        assert changed(root, "bp4d", before) == {}


def test_members_of_an_archive_are_compared_by_its_checksums(tmp_path):
    root = trees.bp4d_plus(tmp_path)
    before = kept(root, "bp4d+")
    path = root / "2D+3D/F001.zip"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "F001/T1/005.jpg"
    other = {"bp4d+/F001/F001_T1": ["sizes"]}
    for time, content, expected in ((5, members[name], {}), (6, members[name][:-1] + b"x", other)):
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, content if member == name else data)
        os.utime(path, (time, time))
        assert changed(root, "bp4d+", before) == expected


@pytest.mark.parametrize("place", [0.01, 0.26, 0.5, 1])
def test_a_change_of_a_long_video_that_keeps_its_size_is_seen_in_its_samples(tmp_path, place):
    path = tmp_path / "in/film.mp4"
    path.parent.mkdir()
    data = bytearray(40 * SAMPLE_BYTES)
    path.write_bytes(data)
    before = kept(tmp_path / "in", "video")
    begin = int(place * (len(data) - 3 * SAMPLE_BYTES))
    data[begin : begin + 3 * SAMPLE_BYTES] = b"x" * 3 * SAMPLE_BYTES
    path.write_bytes(data)
    os.utime(path, (9, 9))
    assert list(changed(tmp_path / "in", "video", before).values()) == [["content"]]


@pytest.mark.parametrize("where", ["in/marks/film.csv", "in/marks.csv"])
def test_any_change_of_landmarks_of_another_program_is_seen(tmp_path, where):
    film, marks = tmp_path / "in/film.mp4", tmp_path / where
    marks.parent.mkdir(parents=True, exist_ok=True)
    film.write_bytes(b"film")
    text = "frame,x_0\n" + "1,2\n" * 200_000
    marks.write_text(text)
    found = CORPORA["video"].find(look(tmp_path / "in"), Options())
    spec = VideoSpec(detector="landmarks", landmarks=marks.parent if marks.parent.name == "marks" else marks)
    recipe = recipe_for("video", found, Options(), spec)
    (sequence,) = found.sequences
    before = replace(origin_of(sequence, recipe), content=samples_of(sequence))
    assert origin_of(sequence, recipe).changed(sequence, before) == []
    marks.write_text(text[:70_002] + "3" + text[70_003:])
    os.utime(marks, (film.stat().st_atime, film.stat().st_mtime))
    assert origin_of(sequence, recipe).changed(sequence, before) == ["reading"]
    marks.unlink()
    assert origin_of(sequence, recipe).changed(sequence, before) == ["reading"]
