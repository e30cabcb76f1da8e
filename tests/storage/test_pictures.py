"""Pictures that the program draws replace only each other."""

import pytest
from PIL import Image

from au_dist.core.errors import RecipeError, StorageError
from au_dist.storage.pictures import check_picture, save_picture

RED, BLUE = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))


def test_a_picture_replaces_one_of_ours(tmp_path):
    path = tmp_path / "new" / "sheet.png"
    for picture in (RED, BLUE):
        save_picture(picture, path)
        with Image.open(path) as there:
            assert there.tobytes() == picture.tobytes()
    check_picture(path)
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_what_is_not_ours_stays(tmp_path):
    BLUE.save(tmp_path / "face.png")
    (tmp_path / "labels.csv").write_text("frame,AU01")
    for path in (tmp_path / "face.png", tmp_path / "labels.csv", tmp_path):
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(RecipeError, match="did not draw"):
            save_picture(RED, path)
        assert (path.read_bytes() if path.is_file() else None) == before


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        save_picture(RED, tmp_path / "file" / "sheet.png")
