"""What a label file holds beside what is taken is named: columns, codes, action units, the frames labelled in them."""

import corpus_trees as trees
import pytest
from collected import found_in, taken, together

from au_dist.corpora.label_files import read_coded, read_ordered, read_pairs
from au_dist.corpora.layout import read_layout
from au_dist.corpora.options import Options


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (lambda: read_coded("frame,AU1,smile,AU12_l\n1,0,3,1\n", "x"), "columns that are not read: smile, AU12_l"),
        (lambda: read_coded(",frame,AU1\n0,1,0\n", "x"), None),
        (lambda: read_ordered("AU1,valence\n1,0.5\n", "x"), "columns that are not read: valence"),
        (
            lambda: read_pairs("1,0\n2,7\n3,9\n4,6\n5,7\n", "x", 6),
            "3 intensities of AU06 are not 0 to 5 and unknown (6, 7)",
        ),
        (lambda: read_pairs("1,0\n2,5\n3,9\n4,-1\n", "x", 6), None),
        (
            lambda: read_coded("frame,AU1," + ",".join(f"p_{k}" for k in range(20)) + "\n1,0" + ",0" * 20 + "\n", "x"),
            "columns that are not read: " + ", ".join(f"p_{k}" for k in range(12)) + " and 8 more",
        ),
        (
            lambda: read_coded(
                "\n".join([",".join(map(str, range(100))), "7" + ",1" * 99, "8" + ",1" * 98 + ",0"]) + "\n", "x"
            ),
            "1 rows are flagged as occluded: their labels are unknown",
        ),
    ],
)  # fmt: skip
def test_readers_name_what_they_leave(table, said):
    assert table().unread == ((said,) if said else ())


def test_action_units_that_are_not_taken_are_named_and_label_no_frame(tmp_path):
    trees.film(tmp_path / "videos/001A.mp4", trees.person(0, 8).scene_T, 30)
    rows = ["1,0,0,0", "0,1,1,0", "999,1,1,0", "999,999,0,0", "1,0,,0", "0,0,9,0", "999,9,,0", "1,1,1,0"]
    trees.put(tmp_path / "tables/001A_labels.csv", "AU06,AU12,AU05,quality\n" + "\n".join(rows) + "\n")
    ((clips, report),) = taken("gft", found_in("gft", tmp_path)).values()
    # Frames 4 (AU05 alone) and 7 (nothing) have no label of the ten units.
    assert (report.labelled, report.clip_labelled) == (6, 6)
    assert together(clips, "valid_TA").any(1).tolist() == [True, True, True, False, True, True, False, True]
    assert report.notes == [
        "columns that are not read: quality",
        "coded, but not taken (--aus takes others): AU05",
        "1 frames are labelled only in action units that were not taken",
    ]
    ((_, report),) = taken("gft", found_in("gft", tmp_path), aus="5,6,12").values()
    assert (report.labelled, report.notes) == (7, ["columns that are not read: quality"])


def test_a_layout_names_its_other_columns_and_bp4d_its_other_units(tmp_path):
    root = trees.bp4d(tmp_path / "bp4d")
    label = root / "AUCoding/AU_OCC/F001_T1.csv"
    lines = [line.split(",") for line in label.read_text().splitlines()]
    for k, line in enumerate(lines[1:]):
        line[5] = str(k % 2)
    label.write_text("\n".join(map(",".join, lines)) + "\n")
    results = taken("bp4d", found_in("bp4d", root))
    notes = {
        title: [note for note in report.notes if "published" not in note] for title, (_, report) in results.items()
    }
    said = ["coded, but not taken (--aus takes others): AU05"]
    assert notes == {"bp4d/F001/F001_T1": said, "bp4d/M009/M009_T1": []}
    trees.film(tmp_path / "own/a1.mp4", trees.person(0, 4).scene_T, 30)
    trees.put(tmp_path / "own/a1.csv", "t,AU04,AU12_r,smile,x\n1,0,2,1,a\n2,1,7,1,b\n3,0,,1,c\n4,1,5,1,d\n")
    own = trees.put(
        tmp_path / "own.yaml",
        "corpus: mine\nrecordings: ['(?P<name>a\\d)\\.mp4']\ntables: '(?P<name>a\\d)\\.csv'\nframe_column: t\n",
    )
    options = Options(layout=read_layout(own))
    found = found_in("gft", tmp_path / "own", layout=options.layout)
    ((_, report),) = taken("gft", found, options=options, aus="4,12").values()
    assert report.notes == [
        "columns that are not read: smile, x",
        "1 intensities of AU12 are not 0 to 5 and unknown (7)",
    ]
