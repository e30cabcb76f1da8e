"""Label files of the field: headers, codes, masks, and lines that are none."""

import numpy as np
import pytest

from au_dist.core.errors import IngestError
from au_dist.corpora.label_files import (
    LabelTable,
    joined,
    occurrence_checked,
    occurrence_from,
    read_coded,
    read_named_pictures,
    read_ordered,
    read_pairs,
)


def positional(rows):
    header = ",".join(str(k) for k in range(100))
    return "\n".join([header, *(",".join(str(row.get(k, 0)) for k in range(100)) for row in rows)])


def test_a_header_of_0_to_99_is_positional_and_its_last_column_is_a_flag():
    table = read_coded(positional([{0: 7, 1: 1, 12: 9}, {0: 8, 1: 1, 99: 1}, {0: 9}]), "x")
    assert table.number_L.tolist() == [7, 8, 9]
    assert table.occurrence[1].tolist() == [1, -1, 0]
    assert table.occurrence[12].tolist() == [-1, -1, 0]
    assert 99 not in table.occurrence


def test_named_headers_count_wherever_their_columns_stand():
    table = read_coded("F001,AU12,AU 1,au04\r\n3,1,0,9\r\n2,0,1,1\r\n", "x")
    assert table.number_L.tolist() == [2, 3]
    assert {au: column.tolist() for au, column in table.occurrence.items()} == {12: [0, 1], 1: [1, 0], 4: [1, -1]}


@pytest.mark.parametrize("text", ["", "1,0\n2,1\n", "frame,smile\n1,0\n", "frame,AU1,AU01\n1,0,0\n"])
def test_headers_that_name_no_action_units_are_refused(text):
    with pytest.raises(IngestError):
        read_coded(text, "x")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("frame,AU1\n1,0\n2,yes\n", "line 3"),
        ("frame,AU1\n1\n", "line 2"),
        ("frame,AU1\n", "no rows"),
        ("frame,AU1\n1,0\n1,1\n", "labelled twice.*frame 1"),
        ("frame,AU1\n1,4444\n", "out of range"),
    ],
)
def test_lines_that_are_none_are_named(text, match):
    with pytest.raises(IngestError, match=match):
        read_coded(text, "labels.csv")


@pytest.mark.parametrize("text", ["1,0\n2,5\n3,9\n4,7\n", "1 0\n2 5\n3 9\n4 7", "1;0\n2;5\n3;9\n4;7\n"])
def test_pairs_mask_what_is_above_five(text):
    assert read_pairs(text, "x", 6).intensity[6].tolist() == pytest.approx([0, 5, np.nan, np.nan], nan_ok=True)


def test_disfa_plus_names_pictures_below_two_lines_of_header():
    table = read_named_pictures("# A\n# B c\n000.jpg     0\n001.jpg     3\n", "x", 4)
    assert (table.number_L.tolist(), table.intensity[4].tolist()) == ([0, 1], [0, 3])


def test_aff_wild_rows_follow_each_other_and_one_unknown_hides_a_row():
    table = read_ordered("AU1,AU26\n0,1\n-1,1\n1,0\n", "x")
    assert table.number_L.tolist() == [1, 2, 3]
    assert (table.occurrence[1].tolist(), table.occurrence[26].tolist()) == ([0, -1, 1], [1, -1, 0])
    assert read_ordered("AU1,AU26\n0,1\n,\n\n1,0\n", "x").number_L.tolist() == [1, 4]


def test_tables_are_joined_by_frame():
    table = joined([read_pairs("1,1\n2,2\n", "x", 6), read_pairs("2,3\n3,4\n", "x", 10)], "x")
    assert table.number_L.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(table.intensity[6], [1, 2, np.nan])
    np.testing.assert_array_equal(table.intensity[10], [np.nan, 3, 4])
    y_LA, valid_LA, intensity_LA = table.columns((10, 12))
    assert not y_LA.any()
    assert not valid_LA.any()
    np.testing.assert_array_equal(intensity_LA[:, 0], [np.nan, 3, 4])
    assert occurrence_from(table.intensity, 3)[10].tolist() == [-1, 1, 1]


def test_intensities_in_the_place_of_occurrence_are_refused():
    with pytest.raises(IngestError, match=r"occurrence code is none.*AU04.*Found \[3\]"):
        occurrence_checked(LabelTable(np.array([1, 2]), {4: np.array([0, 3], np.int8)}), "x")
