"""What predict writes replaces nothing but an earlier result of the same video."""

import shutil

import pytest
from detector_file import LEFT, pictures, write_detector, write_landmarks, write_video
from PIL import Image

from au_dist.core.errors import RecipeError, StorageError
from au_dist.scoring.predict import predict
from au_dist.scoring.results import check_targets, identities, read_made, targets_of


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("runs") / "toy").uri


@pytest.fixture(scope="module")
def ready(tmp_path_factory, detector):
    """A folder with a video, its landmarks, and the results of a prediction."""
    folder = tmp_path_factory.mktemp("ready")
    film(folder / "F001_T1.mp4")
    write_landmarks(folder / "points.txt", {t: [LEFT] for t in range(4)})
    run(detector, folder / "F001_T1.mp4", folder / "out", folder / "points.txt")
    return folder


@pytest.fixture
def here(ready, tmp_path):
    return shutil.copytree(ready, tmp_path / "here")


def film(path, seed=0):
    path.parent.mkdir(exist_ok=True)
    return write_video(path, pictures(4, seed))


def run(detector, video, out, points, **options):
    return predict(detector, video, out, detector="landmarks", landmarks=points, **options)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["F001_T1.csv", "F001_T1.png"])
def test_a_file_that_predict_did_not_write_stays_unless_said_otherwise(name, here, detector, tmp_path):
    out = tmp_path / "labels"
    out.mkdir()
    (out / name).write_text("frame,AU01_c\n1,0\n")
    with pytest.raises(RecipeError, match=rf"in the way.*{name}.*--overwrite"):
        run(detector, here / "F001_T1.mp4", out, here / "points.txt")
    assert content(out) == {name: b"frame,AU01_c\n1,0\n"}
    run(detector, here / "F001_T1.mp4", out, here / "points.txt", overwrite=True)
    assert content(out) == content(here / "out")


def test_an_earlier_result_is_replaced(here, detector):
    before = content(here / "out")
    run(detector, here / "F001_T1.mp4", here / "out", here / "points.txt")
    assert content(here / "out") == before
    run(detector, here / "F001_T1.mp4", here / "out", here / "points.txt", faces="all")
    assert content(here / "out")["F001_T1.csv"] != before["F001_T1.csv"]


def test_without_its_table_a_result_is_none_that_may_stay(here, detector):
    targets = targets_of("F001_T1", here / "out")
    assert check_targets(targets, frozenset()).asked
    targets.table.unlink()
    assert not check_targets(targets, frozenset()).asked


def corrected(folder):
    table = folder / "F001_T1.csv"
    table.write_text(table.read_text().replace("\n1,", "\n2,"))


def drawn_over(folder):
    with Image.open(folder / "F001_T1.png") as picture:
        picture.resize((99, 99)).save(folder / "F001_T1.png")


@pytest.mark.parametrize("change", [corrected, drawn_over, lambda folder: (folder / "F001_T1.png").unlink()])
def test_a_result_that_was_changed_by_hand_is_not_ours_any_more(change, here, detector):
    change(here / "out")
    before = content(here / "out")
    with pytest.raises(RecipeError, match=r"in the way.*--overwrite"):
        run(detector, here / "F001_T1.mp4", here / "out", here / "points.txt")
    assert content(here / "out") == before


def test_the_result_of_another_video_of_that_name_stays(here, detector, tmp_path):
    other = film(tmp_path / "other" / "F001_T1.mp4", seed=1)
    with pytest.raises(RecipeError, match="result of another video"):
        run(detector, other, here / "out", here / "points.txt")
    moved = shutil.copy(here / "F001_T1.mp4", tmp_path / "other" / "moved.mp4")
    run(detector, moved, here / "out" / "F001_T1.csv", here / "points.txt")
    assert read_made(here / "out" / "F001_T1.png").frames == 4


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_replaced_by_whatever_name(overwrite, here, detector, tmp_path):
    points = here / "F001_T1.csv"
    (here / "points.txt").rename(points)
    before = content(here / "out"), points.read_bytes()
    for landmarks in (points, here):
        with pytest.raises(RecipeError, match="replace an input"):
            run(detector, here / "F001_T1.mp4", here, landmarks, overwrite=overwrite)
    (tmp_path / "link.csv").symlink_to(points)
    (tmp_path / "hard.csv").hardlink_to(points)
    for other in ("link.csv", "hard.csv"):
        with pytest.raises(RecipeError, match="replace an input"):
            run(detector, here / "F001_T1.mp4", tmp_path / other, points, overwrite=overwrite)
    assert (content(here / "out"), points.read_bytes()) == before


def test_names_that_are_too_long_are_noticed_before_the_work_and_others_are_written(here, detector, tmp_path):
    title = "가" * 81
    film(tmp_path / f"{title}.mp4")
    made = run(detector, tmp_path / f"{title}.mp4", tmp_path / "out", here / "points.txt")
    assert made.csv.name == f"{title}.csv"
    long = tmp_path / f"{'x' * 252}.ts"
    long.touch()
    for out in (tmp_path, tmp_path / "not" / "yet", tmp_path / ("y" * 256)):
        with pytest.raises(StorageError, match=r"cannot be written.*too long"):
            run("nowhere", long, out, here / "points.txt")  # before the model is looked for
    assert check_targets(targets_of("x" * 251, tmp_path), identities([long])) is None


def test_what_a_result_says_of_itself(here):
    made = read_made(here / "out" / "F001_T1.png")
    assert (made.frames, made.frames_with_face, made.faces) == (4, 4, 4)
    assert any("does not say how" in note for note in made.notes)
    for path in (here / "points.txt", here / "nothing.png"):
        assert read_made(path) is None
