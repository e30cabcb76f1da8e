"""A person's own table: what its columns mean is told by their names, and every label comes to its frame."""

import shutil
import unicodedata

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from video_files import write_video

from au_dist.core.errors import IngestError
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.columns import understand
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Film, Pictures
from au_dist.corpora.rows import read_rows
from au_dist.corpora.timed import Intervals, Moments, Span
from au_dist.corpora.timelines import RECORD
from au_dist.corpora.tree import look
from au_dist.scoring.scored import header

FRAMES = 10

find = CORPORA["table"].find


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A video of ten frames, 40 ms apart."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, [np.full((32, 32, 3), 25 * k, np.uint8) for k in range(FRAMES)])


@pytest.fixture
def place(tmp_path, film):
    """A folder in which two people talk, a video each, and a function that reads a table beside them."""
    for who in ("anna", "ben"):
        (tmp_path / "videos" / who).mkdir(parents=True)
        shutil.copy(film, tmp_path / "videos" / who / "talk.mp4")

    def read(text, name="labels.csv", **options):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return find(look(tmp_path / name), Options(**{"root": tmp_path / "videos", **options}))

    read.path = tmp_path
    return read


def by_name(found):
    return {sequence.name: sequence for sequence in found.sequences}


def told(found):
    return dict(found.understood)


def both(column="frame", first=0, code=lambda k: int(k in (3, 4)), **more):
    """A table of both videos in which AU12 occurs in the frames 3 and 4 (counted from 0)."""
    lines = [
        ",".join(["video", "subject", column, "AU12", *more]),
        *(
            ",".join(map(str, [f"{who}/talk.mp4", who, k + first, code(k), *more.values()]))
            for who in ("anna", "ben")
            for k in range(FRAMES)
        ),
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("first", "why"), [(0, "there is a frame 0"), (1, "there is no frame 0")])
def test_frames_are_counted_as_the_numbers_say(place, first, why):
    found = place(both(first=first))
    assert told(found)["frames"].startswith(f"counted from {first}: {why}")
    assert found.aus == (12,)
    for who, sequence in by_name(found).items():
        assert sequence.subject == f"table/{who.partition('/')[0]}"
        assert sequence.source.first == first
        np.testing.assert_array_equal(sequence.table.number_L - first, np.arange(FRAMES))
        np.testing.assert_array_equal(np.flatnonzero(sequence.table.occurrence[12]), [3, 4])


def test_numbers_that_do_not_tell_are_refused_until_a_person_says(place):
    rows = [line for line in both(first=0).splitlines() if line.split(",")[2] not in ("0", "1")]
    with pytest.raises(IngestError, match="cannot be told whether frames are counted from 0 or from 1"):
        place("\n".join(rows))
    for counted, first in (("from_zero", 0), ("from_one", 1)):
        assert {some.source.first for some in place("\n".join(rows), counted=counted).sequences} == {first}


def test_what_is_not_used_and_not_there_is_named(place):
    text = both(smile="x", AU99="1") + "carl/talk.mp4,carl,0,1,x,1\n"
    found = place(text)
    assert told(found)["not used"] == "smile, AU99"
    assert found.notes == ("labels.csv: 1 rows name files that are not there and were left out: carl/talk.mp4.",)
    assert told(found)["AU12"] == "occurs in 20.0% of 20 labels"


def test_most_files_absent_is_an_error(place):
    """The one video there is called as those that are not."""
    with pytest.raises(IngestError, match=r"Most files .* are not there(?s:.)*20 of 20 rows(?s:.)*--root"):
        place(both(), root=place.path / "videos" / "anna")


def test_files_are_named_by_any_end_of_their_path(place):
    for name in ("anna/talk", f"{place.path}/videos/anna/talk.mp4", "anna\\talk.mp4", "./Anna/talk.MP4"):
        text = "video,subject,frame,AU1\n" + f"{name},a,0,1\n"
        assert by_name(place(text))["talk"].source.entry.name == "anna/talk.mp4"
    with pytest.raises(IngestError, match="Two files have the name"):
        place("video,subject,frame,AU1\ntalk.mp4,a,0,1\n")


def test_everybody_is_somebody(place):
    with pytest.raises(IngestError, match=r"does not say who is seen(?s:.)*--subjects"):
        place("video,frame,AU1\nanna/talk.mp4,0,1\n")
    with pytest.raises(IngestError, match=r"line 3(?s:.)*empty cell"):
        place("video,subject,frame,AU1\nanna/talk.mp4,a,0,1\nben/talk.mp4,,0,1\n")
    rows = "video,frame,AU1\nanna/talk.mp4,0,1\nben/talk.mp4,0,1\n"
    for said, people in (("file", {"table/anna-talk", "table/ben-talk"}), ("folder", {"table/anna", "table/ben"})):
        assert {sequence.subject for sequence in place(rows, subjects=said).sequences} == people


def test_two_people_in_one_video_are_told_apart_by_their_side(place):
    rows = "video,subject,side,frame,AU1\nanna/talk,anna,left,0,1\nanna/talk,ben,right,0,0\n"
    assert {(some.name, some.subject, some.side) for some in place(rows).sequences} == {
        ("talk_left", "table/anna", "left"),
        ("talk_right", "table/ben", "right"),
    }
    for wrong in (rows.replace("right", "left"), rows.replace("right", "")):
        with pytest.raises(IngestError, match="shows two people"):
            place(wrong)
    with pytest.raises(IngestError, match=r"no such side(?s:.)*line 3"):
        place(rows.replace("right", "middle"))


def test_a_split_is_of_people(place):
    found = place("video,subject,frame,AU1,split\nanna/talk,anna,0,1,train\nben/talk,ben,0,1,test\n")
    assert found.partitions == {"train": ["table/anna"], "test": ["table/ben"]}
    with pytest.raises(IngestError, match=r"in two parts of the split(?s:.)*line 3"):
        place("video,subject,frame,AU1,split\nanna/talk,anna,0,1,train\nben/talk,anna,0,1,test\n")


def test_codes_are_0_or_1_or_a_person_says_from_which_a_unit_occurs(place):
    levels = both(code=lambda k: k / 2 if k < 9 else 9)
    with pytest.raises(IngestError, match=r"code is out of range(?s:.)*line 3, column AU12(?s:.)*--occurs-from"):
        place(levels)
    table = place(levels, occurs_from=2).sequences[0].table
    np.testing.assert_array_equal(table.occurrence[12], [0, 0, 0, 0, 1, 1, 1, 1, 1, -1])
    # Of 100, 9 is a code like others; what is named for occurrence stays 0 and 1.
    scores = both(code=lambda k: 9 + 10 * k)
    np.testing.assert_array_equal(place(scores, occurs_from=9).sequences[0].table.occurrence[12], [1] * FRAMES)
    both_kinds = "video,subject,frame,AU12_c,AU12_r,AU4\nanna/talk,a,0,1,1.5,1\nanna/talk,a,1,0,3,2\n"
    table = place(both_kinds, occurs_from=2).sequences[0].table
    assert {au: code_L.tolist() for au, code_L in table.occurrence.items()} == {12: [1, 0], 4: [0, 1]}
    assert table.intensity[12].tolist() == [1.5, 3]

    chances = both(code=lambda k: k / 10)
    table = place(chances, occurs_from=0.5).sequences[0].table
    np.testing.assert_array_equal(np.flatnonzero(table.occurrence[12]), [5, 6, 7, 8, 9])
    assert not table.intensity


def test_columns_of_intensity_are_no_occurrence(place):
    text = both(code=lambda k: k / 2).replace("AU12", "AU12_r")
    found = place(text)
    assert not found.sequences[0].table.occurrence
    assert told(found)["intensities"] == "AU12; --occurs-from says from which one a unit occurs"
    np.testing.assert_array_equal(found.sequences[0].table.intensity[12], np.arange(FRAMES) / 2)
    assert place(text, occurs_from=4).sequences[0].table.occurrence[12].tolist() == [0] * 8 + [1, 1]
    with pytest.raises(IngestError, match=r"out of range(?s:.)*0 to 5"):
        place(text.replace("4.5", "5.5"))


def test_times_find_the_nearest_frame(place):
    found = place(both("time", code=lambda k: int(k in (3, 4))).replace(".mp4", ""))
    assert told(found)["frames"] == "by their times in seconds"
    moments = found.sequences[0].table
    assert isinstance(moments, Moments)
    number_T, time_T = np.arange(FRAMES) + 1, np.arange(FRAMES) * 0.04
    table, notes = Moments(np.array([0.0, 0.085, 0.121, 0.13]), {12: np.array([0, 1, 1, 0], np.int8)}, {}).at(
        number_T, time_T, "here"
    )
    assert (table.number_L.tolist(), table.occurrence[12].tolist()) == ([1, 3, 4], [0, 1, 1])
    assert notes == ("1 labels have no frame of their own nearest to their time and were left out",)
    with pytest.raises(IngestError, match="go on after the recording has ended"):
        moments.at(number_T, time_T, "here")


INTERVALS = {
    "own": "video,subject,onset,offset,au\nanna/talk,anna,0.12,0.2,12\nanna/talk,anna,0.3,0.34,AU6D\n",
    "BORIS": "Observation id\tMedia file name\tSubject\tBehavior\tBehavior type\tStart (s)\tStop (s)\n"
    "1\tanna/talk.mp4\tanna\tAU12\tSTATE\t0.12\t0.2\n1\tanna/talk.mp4\tanna\tAU6D\tSTATE\t0.3\t0.34\n",
    "ELAN": "Tier\tParticipant\tBegin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - hh:mm:ss.ms\t"
    "End Time - ss.msec\tAnnotation\tMedia File\n"
    "AU12\tanna\t00:00:00.120\t0.12\t00:00:00.200\t0.2\t\tanna/talk.mp4\n"
    "AU06\tanna\t00:00:00.300\t0.3\t00:00:00.340\t0.34\tD\tanna/talk.mp4\n",
    "ELAN, one tier": "Tier\tParticipant\tBegin Time - ss.msec\tEnd Time - ss.msec\tAnnotation\tFile\n"
    "FACS\tanna\t0.12\t0.2\t12\tanna/talk.eaf\nFACS\tanna\t0.3\t0.34\t6D\tanna/talk.eaf\n",
    "ELAN, a column a tier": "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tAU06\tAU12\tsubject\tvideo\n"
    "00:00:00.120\t00:00:00.200\t\tx\tanna\tanna/talk.mp4\n00:00:00.300\t00:00:00.340\tD\t\tanna\tanna/talk.mp4\n",
}


@pytest.mark.parametrize("text", INTERVALS.values(), ids=INTERVALS)
def test_intervals_become_frames(place, text):
    found = place(text)
    (sequence,) = found.sequences
    assert sequence.table == Intervals((Span(12, 0.12, 0.2), Span(6, 0.3, 0.34, 4.0)), (6, 12))
    assert told(found)["AU12"] == "0.1 s in intervals, and not elsewhere in these videos"
    table, notes = sequence.table.at(np.arange(FRAMES), np.arange(FRAMES) * 0.04, "here")
    assert np.flatnonzero(table.occurrence[12]).tolist() == [3, 4]
    assert np.flatnonzero(table.occurrence[6]).tolist() == [8]
    assert table.intensity[6].tolist() == [0] * 8 + [4, 0]
    assert not notes


def test_intervals_of_other_things_are_counted(place):
    more = "ben/talk,ben,0,0.1,smile\nanna/talk,anna,0,0.1,AU4+99\nanna/talk,anna,0.201,0.202,1+2\n"
    found = place(INTERVALS["own"] + more)
    assert "2 codes say nothing of an action unit and were left out: smile (1), 99 (1)" in found.notes[0]
    assert found.aus == (1, 2, 4, 6, 12)
    anna, ben = found.sequences
    assert ben.table == Intervals((), (1, 2, 4, 6, 12))
    _, notes = anna.table.at(np.arange(FRAMES), np.arange(FRAMES) * 0.04, "here")
    assert notes == ("2 intervals are so short that no frame is in them",)
    with pytest.raises(IngestError, match=r"ends before it begins(?s:.)*line 2"):
        place(INTERVALS["own"].replace("0.2,12", "0.12,12"))


def test_cells_of_intervals_say_whether_a_unit_occurs(place):
    cells = ["x", "", "NaN", "False", "0.0", "9", "2,5", "C", "-1", "weak"]
    rows = "".join(f"anna/talk;a;{k / 10};{k / 10 + 0.05};{cell}\n" for k, cell in enumerate(cells))
    found = place("video;subject;onset;offset;AU12\n" + rows)
    assert [span.level for span in found.sequences[0].table.spans] == [None, 2.5, 3.0, None]
    assert "1 codes say nothing of an action unit and were left out: intensity weak (1)" in found.notes[0]


def test_frames_beside_a_start_and_an_end_are_frames(place):
    rows = "".join(f"anna/talk,a,{k},0,2,{k % 2}\n" for k in range(FRAMES))
    found = place("video,subject,frame,start,end,AU12\n" + rows)
    assert found.sequences[0].table.occurrence[12].tolist() == [k % 2 for k in range(FRAMES)]
    assert told(found)["not used"] == "start, end"


@pytest.mark.parametrize("fps", [24, 25, 30, 30000 / 1001, 50, 60])
def test_intervals_in_whole_milliseconds_begin_and_end_at_their_frames(fps):
    time_T = np.arange(90) / fps
    for first in range(87):
        span = Span(12, round(first / fps, 3), round((first + 3) / fps, 3))
        table, _ = Intervals((span,), (12,)).at(np.arange(90), time_T, "here")
        assert np.flatnonzero(table.occurrence[12]).tolist() == [first, first + 1, first + 2]


def test_counting_that_contradicts_itself_is_refused(place):
    rows = [f"anna/talk,a,{k},1" for k in range(FRAMES)] + [f"ben/talk,b,{k + 1},1" for k in range(FRAMES)]
    with pytest.raises(IngestError, match=r"a frame 0 in anna/talk.mp4; a last number .* in ben/talk.mp4"):
        place("\n".join(["video,subject,frame,AU1", *rows]))
    with pytest.raises(IngestError, match=r"cannot be told whether frames are counted(?s:.)*--counted"):
        place("\n".join(["video,subject,frame,AU1", *rows[2:5]]))


def test_frame_numbers_are_those_of_the_column_that_is_named_for_them(place):
    rows = "".join(f"{k},anna/talk,{k + 3},a,{k % 2}\n" for k in range(FRAMES - 3))
    found = place("image_id,video,frame,subject,AU12\n" + rows, counted="from_zero")
    assert found.sequences[0].table.number_L.tolist() == list(range(3, FRAMES))
    with pytest.raises(IngestError, match=r"no number(?s:.)*line 3, column frame"):
        place("video,subject,frame,AU1\nanna/talk,a,0,1\nanna/talk,a,f1,1\n")


def test_one_person_has_one_spelling(place):
    same = [("Anna", "anna"), ("1.0", "1"), ("1", "01"), ("P1", "P01"), ("P1", "P_1"), ("P-1", "p 1"), ("J  M.", "J M")]
    for one, other in same:
        with pytest.raises(IngestError, match="differ in their spelling alone"):
            place(f"video,subject,frame,AU1\nanna/talk,{one},0,1\nben/talk,{other},0,1\n")
    with pytest.raises(IngestError, match="does not say who is seen"):
        place("video,subject,frame,AU1\nanna/talk,a,0,1\nben/talk,NA,0,1\n")
    for one, other in [("1-11", "11-1"), ("P1", "P10"), ("1", "10"), ("P1-2", "P12"), ("X+", "X-"), ("1", "-1")]:
        found = place(f"video,subject,frame,AU1\nanna/talk,{one},0,1\nben/talk,{other},0,1\n")
        assert {sequence.subject for sequence in found.sequences} == {f"table/{one}", f"table/{other}"}
    found = place("video,subject,frame,AU1,corpus\nanna/talk,P1,0,1,one\nben/talk,P01,0,1,two\n")
    assert {sequence.subject for sequence in found.sequences} == {"one/P1", "two/P01"}


def test_accented_letters_are_the_same_however_they_are_written(place):
    """macOS writes two characters where others write one."""
    two = unicodedata.normalize("NFD", "Jörg")
    (place.path / "videos" / "ben").rename(place.path / "videos" / two)
    found = place(f"video,subject,frame,AU1\nJörg/talk,Jörg,0,1\nanna/talk,{two},0,1\n")
    assert {sequence.subject for sequence in found.sequences} == {"table/Jörg"}
    assert len(found.sequences) == 2


@pytest.mark.parametrize(
    "code",
    [
        *("R12B", "L4", "T23", "U14", "12?", "(12)", "~12", "12 (weak)", "AU12 (weak)", "12 weak", "no AU12", "R_AU12"),
        *("left_AU12", "6-12", "AU4 AU7", "12 or 14", "AU12 or AU99", "12x"),
    ],
)
def test_a_code_that_may_name_a_unit_is_not_left_out(place, code):
    """Without it the unit would be absent where it may be there."""
    with pytest.raises(IngestError, match=r"seems to name an action unit(?s:.)*line 4"):
        place(INTERVALS["own"] + f"ben/talk,ben,0,0.1,{code}\n")


@pytest.mark.parametrize(
    "code",
    [
        *("smile", "trial 12", "T1", "B6", "M68", "99", "1st smile", "2 people", "10 min", "25%", "7.5 s", "head 45"),
        *("12:30", "bureau 12"),
    ],
)
def test_a_code_of_something_else_may_hold_numbers(place, code):
    assert f"were left out: {code} (1)" in place(INTERVALS["own"] + f"ben/talk,ben,0,0.1,{code}\n").notes[0]


def test_letters_of_intensity_may_stand_apart(place):
    found = place(INTERVALS["own"] + "ben/talk,ben,0,0.1,12 C\nben/talk,ben,0.1,0.2,6.0\n")
    assert found.sequences[1].table.spans == (Span(12, 0, 0.1, 3.0), Span(6, 0.1, 0.2))


def test_columns_of_one_side_are_no_intensities(place):
    rows = "".join(f"anna/talk,a,{k},1,0,1\n" for k in range(FRAMES))
    with pytest.raises(IngestError, match=r"one side of the face(?s:.)*AU12_L, AU12_R.*Join"):
        place("video,subject,frame,AU12_L,AU12_R,AU4\n" + rows)
    found = place("video,subject,frame,AU12_L,AU12_R,AU12\n" + rows)
    assert told(found)["not used"] == "AU12_L, AU12_R"
    assert found.sequences[0].table.occurrence[12].tolist() == [1] * FRAMES
    assert not found.sequences[0].table.intensity
    assert (
        "3L" in told(place("video,subject,frame,3L,AU5_L,AU5,AU4\n" + rows.replace(",1,0,1", ",1,0,1,1")))["not used"]
    )


def test_labels_beyond_the_end_are_said_before_the_work(place):
    rows = "video,subject,frame,AU1\nanna/talk,a,0,1\nanna/talk,a,1039,1\nben/talk,b,9,0\n"
    assert "are they of these videos? anna/talk.mp4 (frame 1039 of 10)." in place(rows).notes[-1]
    rows = "video,subject,time,AU1\nanna/talk,a,200,1\nben/talk,b,0.2,0\n"
    assert "anna/talk.mp4 (200.0 s of 0.4)." in place(rows).notes[-1]
    found = place(INTERVALS["own"] + "ben/talk,ben,200,500,12\nben/talk,ben,0,9000,smile\n")
    assert "ben/talk.mp4 (500.0 s of 0.4)." in found.notes[-1]
    assert not place(INTERVALS["own"]).notes


def test_other_columns_of_intervals_may_hold_anything(place):
    text = "video,subject,onset,offset,code,timestamp,frame\nanna/talk,a,0.1,0.2,AU12,2024-01-01 10:00,x\n"
    found = place(text)
    assert found.sequences[0].table.spans == (Span(12, 0.1, 0.2),)
    assert not found.notes


def test_a_table_of_a_folder_may_be_empty_yet(place):
    folder = place.path / "tables"
    folder.mkdir()
    for who, code in (("anna", 1), ("ben", "")):
        (folder / f"{who}.csv").write_text(f"video,subject,frame,AU1\n{who}/talk,{who},0,{code}\n")
    found = find(look(folder), Options(root=place.path / "videos"))
    assert [sequence.table.occurrence[1].tolist() for sequence in found.sequences] == [[1], [-1]]
    assert found.notes == ("ben.csv: no cell of the action units holds a code.",)


def test_a_video_that_cannot_be_opened_stops_no_other(place):
    (place.path / "videos" / "ben" / "talk.mp4").write_bytes(b"")
    found = place("video,subject,frame,AU1\nanna/talk,a,0,1\nben/talk,b,0,1\n")
    assert len(found.sequences) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("video,subject,frame,AU1\nanna/talk,a,0,1\nanna/talk,a,3,1\nanna/talk,a,3,0\n", "labels.csv, lines 3 and 4"),
        ("video,subject,frame,AU1\nanna/talk,a,0,\n", r"empty cells alone(?s:.)*formulas"),
        ("video;subject;frame;AU1_r\nanna/talk;a;0;2,5\n", r"Found 2,5\. Write decimals with a point"),
        ("video;subject;onset;offset;code\nanna/talk;a;0,2;0,4;12\n", r"Found 0,2\. Write decimals with a point"),
        ("video,subject,frame,AU1\nanna/talk,a,0,ja\n", r"Expected 0, 1, a number, or an empty cell\. Found ja"),
        ("video,subject,frame,AU1\nanna/talk,a,0,7\n", r"Expected 0, 1, or unknown: empty, 9, -1, 999"),
        ("video,subject,frame,AU1\n", r"no rows(?s:.)*a header alone"),
        (b"PK\x03\x04\0\0", r"a workbook(?s:.)*\.xlsx"),
        (
            "video,subject,frame,AU1\nJörg,a,0,1\n".encode("cp1252"),
            r"bytes in line 2 that are no UTF-8(?s:.)*CSV UTF-8",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(place, text, words):
    with pytest.raises(IngestError, match=words):
        place(text)


def test_unicode_text_of_windows_is_read(place):
    found = place("video\tsubject\tframe\tAU1\nanna/talk\tJörg\t0\t1\n".encode("utf-16"))
    assert found.sequences[0].subject == "table/Jörg"


def test_a_quotation_mark_that_is_not_closed_is_refused(place):
    with pytest.raises(IngestError, match=r"quotation mark is not closed(?s:.)*line 3"):
        place('video,subject,frame,AU1,said\nanna/talk,a,0,1,x\nanna/talk,a,1,1,"x\nanna/talk,a,2,1,x\n')


def test_pictures_are_numbered_by_their_names_and_may_have_gaps(tmp_path):
    (tmp_path / "a").mkdir()
    for number in (1, 2, 10):
        (tmp_path / "a" / f"img{number}.jpg").write_bytes(b"")
    rows = "path,subject,AU4\na/img10.jpg,x,1\na/img2.jpg,x,0\na/img1.jpg,x,9\n"
    (tmp_path / "labels.csv").write_text(rows)
    (sequence,) = find(look(tmp_path), Options()).sequences
    assert isinstance(sequence.source, Pictures)
    assert [(number, entry.name) for number, entry in sequence.source.numbered] == [
        (1, "a/img1.jpg"),
        (2, "a/img2.jpg"),
        (10, "a/img10.jpg"),
    ]
    assert sequence.table.number_L.tolist() == [1, 2, 10]
    assert sequence.table.occurrence[4].tolist() == [-1, 0, 1]
    (tmp_path / "labels.csv").write_text(rows + "a/img1.jpg,x,1\n")
    with pytest.raises(IngestError, match=r"A picture is labelled twice(?s:.)*lines 4 and 5"):
        find(look(tmp_path), Options())
    (tmp_path / "labels.csv").write_text(rows + "a/img1.jpg,y,1\n")
    with pytest.raises(IngestError, match=r"shows two people(?s:.)*line 4 and .*line 5(?s:.)*table/x and table/y"):
        find(look(tmp_path), Options())
    (tmp_path / "labels.csv").write_text("path,subject,side,AU4\na/img1.jpg,x,left,1\na/img1.jpg,y,right,0\n")
    assert [s.side for s in find(look(tmp_path), Options()).sequences] == ["left", "right"]


def test_pictures_without_numbers_are_in_the_order_of_the_rows_and_that_is_said(tmp_path):
    for name in ("b", "a", "c1", "d/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("path,subject,AU4\nb.jpg,x,1\na.jpg,x,0\nc1.jpg,x,0\nd/x.jpg,y,1\n")
    found = find(look(tmp_path), Options())
    pictures = {s.subject: [(number, entry.name) for number, entry in s.source.numbered] for s in found.sequences}
    assert pictures == {"table/x": [(1, "b.jpg"), (2, "a.jpg"), (3, "c1.jpg")], "table/y": [(1, "d/x.jpg")]}
    (note,) = found.notes
    assert note == "Pictures without numbers of their own are frames in the order of the rows: x/pictures."


def test_a_folder_of_tables_is_one_a_video(place):
    folder = place.path / "tables"
    folder.mkdir()
    (folder / "README.txt").write_text("Coded by two people.\nAsk us, if in doubt.\n")
    shutil.copy(place.path / "videos" / "anna" / "talk.mp4", place.path / "videos" / "hello.mp4")
    (folder / "hello.csv").write_text("frame,AU1\n0,1\n1,0\n")
    found = find(look(folder), Options(root=place.path / "videos", subjects="file"))
    (sequence,) = found.sequences
    assert (sequence.name, sequence.subject, sequence.table.occurrence[1].tolist()) == ("hello", "table/hello", [1, 0])
    assert [note for note in found.notes if "README.txt" in note]
    (folder / "hello.tsv").write_text("frame\tAU1\n0\t1\n")
    with pytest.raises(IngestError, match="Two tables are of one recording"):
        find(look(folder), Options(root=place.path / "videos", subjects="file"))


def test_what_predict_wrote_is_no_recording_and_no_coder(tmp_path, film):
    shutil.copy(film, tmp_path / "talk.mp4")
    made = PngInfo()
    made.add_text(RECORD, "{}")
    Image.new("RGB", (8, 8)).save(tmp_path / "talk.png", pnginfo=made)
    lines = [header([12], several=False), *(f"{k + 1},{k * 0.04},1,1,{k % 2},0.5\n" for k in range(FRAMES))]
    (tmp_path / "talk.csv").write_text("".join(lines))
    found = find(look(tmp_path), Options(subjects="file"))
    (sequence,) = found.sequences
    assert sequence.source.entry.path == tmp_path / "talk.mp4"
    assert "Tables that predict wrote: their codes are a model's, and no person's: talk.csv." in found.notes


def test_spreadsheets_and_parquet_are_read_as_text_is(place):
    columns = {"video": ["anna/talk"] * 3, "subject": ["a"] * 3, "frame": [0, 1, 2], "AU12": [1.0, None, 0.0]}
    pq.write_table(pa.table(columns), place.path / "labels.parquet")
    found = find(look(place.path / "labels.parquet"), Options(root=place.path / "videos"))
    assert found.sequences[0].table.occurrence[12].tolist() == [1, -1, 0]
    book = openpyxl.Workbook()
    for row in zip(*([name, *cells] for name, cells in columns.items()), strict=True):
        book.active.append(row)
    book.create_sheet("more").append(["x"])
    book.save(place.path / "labels.xlsx")
    found = find(look(place.path / "labels.xlsx"), Options(root=place.path / "videos"))
    assert found.sequences[0].table.occurrence[12].tolist() == [1, -1, 0]
    assert found.notes == ("labels.xlsx: the sheet Sheet was read; not more",)
    (place.path / "broken.xlsx").write_bytes(b"PK\3\4 no book")
    with pytest.raises(IngestError, match=r"cannot be read(?s:.)*broken\.xlsx"):
        find(look(place.path / "broken.xlsx"), Options(root=place.path / "videos"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "an empty table"),
        ("1,2,3\n4,5,6\n", "a header that names the columns"),
        ("video,subject,frame,smile\nanna/talk,a,0,1\n", "columns of action units"),
        ("video,subject,AU1\nanna/talk,a,1\n", "`frame` or `time`"),
        ("video,subject,time_ms,AU1\nanna/talk,a,1,1\n", "time_ms: give seconds"),
        ("video,subject,frame,AU1,AU01\nanna/talk,a,0,1,1\n", "of the same action unit"),
        ("video,subject,frame,AU1\nanna/talk,a,0\n", "another number of cells"),
        ("video,subject,frame,AU1\nanna/talk,a,0,1\nanna/talk,a,0,0\n", "labelled twice"),
        ("video,subject,frame,AU1\nanna/talk,a,0,yes\n", "no number"),
        ("video,subject,frame,AU1\nanna/talk,a,0.5,1\n", "not whole"),
        ("video,subject,frame,AU1\n", "no rows"),
    ],
)
def test_what_cannot_be_understood_is_refused(place, text, match):
    with pytest.raises(IngestError, match=match):
        place(text)


CODES = st.lists(st.sampled_from([0, 1, 1, "", 9, "NaN", -1]), min_size=FRAMES, max_size=FRAMES)


@given(
    codes=st.dictionaries(st.sampled_from([1, 2, 4, 6, 12, 25]), CODES, min_size=1),
    mark=st.sampled_from([",", ";", "\t"]),
    name=st.sampled_from(["AU{}", "AU{:02d}", "{}", "au{}_c", "AU {:02d}"]),
    names=st.sampled_from([("video", "subject", "frame"), ("Video File", "person_id", "Frame Number")]),
    index=st.booleans(),
    first=st.sampled_from([0, 1]),
    left_out=st.sets(st.integers(1, FRAMES - 2), max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_whatever_it_looks_like_every_label_comes_to_its_frame(
    tmp_path_factory, film, codes, mark, name, names, index, first, left_out, order
):
    root = tmp_path_factory.mktemp("any")
    shutil.copy(film, root / "a.mp4")
    kept = [k for k in range(FRAMES) if k not in left_out]
    rows = [["a.mp4", "x", k + first, *(column[k] for column in codes.values())] for k in kept]
    order.shuffle(rows)
    lines = [[*names, *(name.format(au) for au in codes)], *rows]
    if index:
        lines = [["" if at == 0 else at - 1, *line] for at, line in enumerate(lines)]
    (root / "labels.csv").write_text("\n".join(mark.join(map(str, line)) for line in lines))
    if not any(column[k] in (0, 1) for column in codes.values() for k in kept):
        with pytest.raises(IngestError, match="No cell of the action units holds a code"):
            find(look(root / "labels.csv"), Options())
        return
    (sequence,) = find(look(root / "labels.csv"), Options()).sequences
    assert isinstance(sequence.source, Film)
    assert (sequence.table.number_L - sequence.source.first).tolist() == kept
    for au, column in codes.items():
        assert sequence.table.occurrence[au].tolist() == [column[k] if column[k] in (0, 1) else -1 for k in kept]


def test_times_in_other_units_and_names_are_told_apart():
    rows = read_rows("Media file path,t,timestamp,Frame,AU12\nx,0,0,1,1\n", "here")
    columns = understand(rows)
    assert {role: columns.name(role) for role in columns.roles} == {
        "video": "Media file path",
        "time": "timestamp",
        "frame": "Frame",
    }
    assert columns.unused == ("t",)
