"""Tables as people save them: read back as they were meant, or refused with line and column."""

import csv
import io

import numpy as np
import pytest
from collected import found_in, taken, together
from corpus_trees import film, occurrence, person, put
from hypothesis import assume, given
from hypothesis import strategies as st

from au_dist.core.errors import IngestError
from au_dist.corpora.label_files import read_coded, read_ordered, read_pairs
from au_dist.corpora.layout import read_layout
from au_dist.corpora.options import Options
from au_dist.corpora.rows import read_rows

AUS = (1, 2, 4, 6, 12)


def saved(header, rows, delimiter=",", end="\n"):
    """Return a table as a program writes it."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows([*([header] if header else []), *rows])
    return file.getvalue()


def truth(numbers, aus=AUS):
    """Return codes in which every action unit is told apart from the others."""
    return {number: [(number * (k + 2) // 3) % 2 for k in range(len(aus))] for number in numbers}


@st.composite
def tables(draw):
    """Return a table as text, its frame numbers and its codes, None where unknown."""
    start, count = draw(st.integers(0, 3000)), draw(st.integers(1, 30))
    gaps = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    numbers = (start + np.cumsum(gaps)).tolist()
    code = st.lists(st.sampled_from([0, 1, None]), min_size=count, max_size=count)
    codes = {au: draw(code) for au in draw(st.permutations(AUS))[: draw(st.integers(1, len(AUS)))]}
    style = draw(st.sampled_from(["AU{}", "au{:02d}", "AU {}", "AU_{}", "AU{:02d}_c", "{}"]))
    unknown = draw(st.sampled_from(["9", "-1", "999", "", "NaN", "9.0"]))
    number = draw(st.sampled_from([str, "{:d}.0".format, "{:04d}".format]))
    frame = draw(st.sampled_from(["Frame", "frame_number", "FRAME #", "image id"])), [number(k) for k in numbers]
    columns = [(style.format(au), [unknown if k is None else str(k) for k in column]) for au, column in codes.items()]
    columns = draw(st.permutations([frame, *columns])) if draw(st.booleans()) else [frame, *columns]
    if draw(st.booleans()):
        columns = [*columns, ("quality", ["0.5"] * count)]
    if draw(st.booleans()):
        columns = [(draw(st.sampled_from(["", "Unnamed: 0"])), [str(k) for k in range(count)]), *columns]
    order = draw(st.permutations(range(count))) if draw(st.booleans()) else range(count)
    rows = [[cells[k] for _, cells in columns] for k in order]
    text = saved(
        [name for name, _ in columns], rows, draw(st.sampled_from(",;\t")), draw(st.sampled_from(["\n", "\r\n"]))
    )
    return text, numbers, codes


@given(tables())
def test_what_is_saved_is_read_back(table):
    text, numbers, codes = table
    found = read_coded(text, "x")
    assert found.number_L.tolist() == numbers
    assert {au: column.tolist() for au, column in found.occurrence.items()} == {
        au: [-1 if code is None else code for code in column] for au, column in codes.items()
    }


@given(tables(), st.data())
def test_a_damaged_table_is_refused_with_its_line(table, data):
    text, *_ = table
    lines = text.splitlines()
    mark = next(mark for mark in "\t;," if mark in lines[0])
    place = data.draw(st.integers(1, len(lines) - 1))
    cells = lines[place].split(mark)
    frame = [k for k, name in enumerate(lines[0].split(mark)) if name.lower()[:5] in ("frame", "image")]
    coded = [k for k, name in enumerate(lines[0].split(mark)) if name[:1].lower() == "a" or name.isdigit()]
    fault = data.draw(st.sampled_from(["a cell less", "a cell more", "another delimiter", "between two", "a word"]))
    if fault == "a cell less":
        cells = cells[:-1]
    elif fault == "a cell more":
        cells.append("0")
    elif fault == "another delimiter":
        cells = [(" " if mark != "\t" else ",").join(cells)]
    elif fault == "between two":
        cells[data.draw(st.sampled_from(coded))] = "0.97"
    else:
        cells[data.draw(st.sampled_from([*coded, *frame]))] = "yes"
    lines[place] = mark.join(cells)
    assume(lines[place].strip(mark))  # an empty line is no row
    with pytest.raises(IngestError, match=rf"labels\.csv, line {place + 1}\b"):
        read_coded("\n".join(lines), "labels.csv")


def test_row_numbers_that_pandas_saved_are_no_frame_numbers():
    codes = truth(range(8, 38))
    rows = [[k, number, *row] for k, (number, row) in enumerate(codes.items())]
    table = read_coded(saved(["", "Frame", *(f"AU{au}" for au in AUS)], rows), "x")
    assert table.number_L.tolist() == list(codes)
    assert table.occurrence[12].tolist() == [row[AUS.index(12)] for row in codes.values()]
    with pytest.raises(IngestError, match="does not name a column of frames"):
        read_coded(saved(["", *(f"AU{au}" for au in AUS)], [row[1:] for row in rows]), "x")
    with pytest.raises(IngestError, match="does not name a column of frames"):
        read_coded(saved(["", *AUS], [row[1:] for row in rows]), "x")


def test_a_file_without_its_header_is_refused():
    rows = [[number, *row] for number, row in truth(range(11, 30)).items()]
    with pytest.raises(IngestError, match=r"does not name.*Put the header back"):
        read_coded(saved(None, rows), "x")
    with pytest.raises(IngestError, match="names no action units"):
        read_ordered(saved(None, [row[1:] for row in rows]), "x")


def test_codes_between_two_name_file_line_and_column():
    with pytest.raises(IngestError, match=r"not whole.*l\.csv, line 3, column AU12\).*0\.97.*Round it"):
        read_coded("Frame,AU6,AU12\n1,0,0\n2,0,0.97\n", "l.csv")
    with pytest.raises(IngestError, match=r"not whole.*sn\.txt, line 2, column intensity.*1\.90"):
        read_pairs("1,0\n2,1.90\n", "sn.txt", 12)
    with pytest.raises(IngestError, match=r"not whole.*column Frame.*give their numbers, not times"):
        read_coded("Frame,AU6\n0.04,0\n0.08,1\n", "l.csv")
    with pytest.raises(IngestError, match="Expected 2 numbers"):
        read_pairs("0,1,3\n1,2,0\n", "sn.txt", 12)


def test_intensities_beside_occurrence_are_kept_apart():
    table = read_coded("frame,AU06_r,AU12_r,AU06_c,AU12_c\n1,3,0,1,0\n2,0,5,0,1\n", "x")
    assert {au: column.tolist() for au, column in table.occurrence.items()} == {6: [1, 0], 12: [0, 1]}
    assert {au: column.tolist() for au, column in table.intensity.items()} == {6: [3, 0], 12: [0, 5]}
    alone = read_coded("frame,AU06_r\n1,3\n", "x")
    assert (dict(alone.occurrence), alone.intensity[6].tolist()) == ({}, [3])


def test_true_and_false_are_codes():
    table = read_coded("frame,AU6,AU12\n1,True,False\n2,FALSE,\n", "x")
    assert (table.occurrence[6].tolist(), table.occurrence[12].tolist()) == ([1, 0], [0, -1])


def test_one_delimiter_a_file():
    assert read_rows("a;b,c\n1;2,5\n", "x").cells == (("a", "b,c"), ("1", "2,5"))
    assert read_rows('"a, b",c\n1,2\n', "x").first == ("a, b", "c")
    with pytest.raises(IngestError, match=r"line 3.*2 cells, as in line 1, parted by semicolons.*1: 3, 4"):
        read_rows("a;b\n1;2\n3, 4\n", "x")


@pytest.fixture
def people(tmp_path):
    """A video of BP4D's naming whose labels count from 0."""
    who = person(0, 12)
    film(tmp_path / "F001_T1.mp4", who.scene_T, 25)
    put(tmp_path / "AU_OCC/F001_T1.csv", occurrence(who, 0))
    return tmp_path, who


def test_labels_that_count_from_0_are_noticed(people):
    root, who = people
    with pytest.raises(IngestError, match=r"begin before the recording.*frame 0.*--first-frame 0"):
        taken("bp4d", found_in("bp4d", root))
    options = Options(first_frame=0)
    ((clips, _),) = taken("bp4d", found_in("bp4d", root, first_frame=0), options=options).values()
    np.testing.assert_array_equal(together(clips, "y_TA"), who.y_TA)
    assert together(clips, "number_T").tolist() == list(range(12))


def test_two_recordings_of_one_name_are_refused(tmp_path):
    for name, first in (("s01_talk", 1), ("s02_talk", 0)):
        film(tmp_path / f"videos/{name}.mp4", person(0, 4).scene_T, 30)
        put(tmp_path / f"labels/{name}.csv", f"frame,AU06,AU12_r\n1,{first},0.4\n2,1,2.5\n3,0,5\n4,1,\n")
    put(tmp_path / "labels/talk.csv", "frame,AU06\n1,0\n2,1\n3,0\n4,1\n")
    own = tmp_path / "own.yaml"
    layout = "corpus: mine\nrecordings: ['videos/{}\\.mp4']\ntables: 'labels/{}\\.csv'\nframe_column: frame\n"
    for recordings, tables, both in (
        ("(?P<subject>s\\d+)_(?P<name>\\w+)", "(?P<name>[a-z]+)", "s01_talk.*s02_talk"),
        ("(?P<name>(?P<subject>s\\d+)_\\w+)", "s\\d+_(?P<name>\\w+)", "s01_talk.csv and .*s02_talk.csv"),
    ):
        own.write_text(layout.format(recordings, tables))
        with pytest.raises(IngestError, match=f"have one name.*{both}.*Found talk"):
            found_in("gft", tmp_path, layout=read_layout(own))
    own.write_text(layout.format("(?P<name>(?P<subject>s\\d+)_\\w+)", "(?P<name>s\\d+_\\w+)"))
    options = Options(layout=read_layout(own))
    results = taken("gft", found_in("gft", tmp_path, layout=options.layout), options=options, aus="6,12")
    assert sorted(results) == ["mine/s01/s01_talk", "mine/s02/s02_talk"]
    clips, _ = results["mine/s02/s02_talk"]
    assert together(clips, "y_TA")[:, 0].tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(together(clips, "intensity_TA")[:, 1], np.float32([0.4, 2.5, 5, np.nan]))


def test_a_layout_says_from_which_code_on_a_unit_occurs(tmp_path):
    film(tmp_path / "a1.mp4", person(0, 4).scene_T, 30)
    put(tmp_path / "a1.csv", "t,AU04\n1,0.02\n2,0.97\n3,0.5\n4,0\n")
    patterns = "recordings: ['(?P<name>a\\d)\\.mp4']\ntables: '(?P<name>a\\d)\\.csv'\n"
    own = put(tmp_path / "own.yaml", f"corpus: mine\n{patterns}frame_column: t\n")
    options = Options(layout=read_layout(own))
    with pytest.raises(IngestError, match=r"not whole.*column AU04.*`threshold`"):
        taken("gft", found_in("gft", tmp_path, layout=options.layout), options=options, aus="4")
    own.write_text(own.read_text() + "threshold: 0.5\n")
    options = Options(layout=read_layout(own))
    found = found_in("gft", tmp_path, layout=options.layout)
    ((clips, _),) = taken("gft", found, options=options, aus="4").values()
    assert clips[0].y_TA[:, 0].tolist() == [0, 1, 1, 0]
    assert np.isnan(clips[0].intensity_TA).all()
