"""Subjects are dealt once, by name alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.config import Protocol
from au_dist.data.splits import split_subjects
from au_dist.errors import RecipeError

names = st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=9, max_size=60)


@given(names, st.integers(2, 4), st.integers(0, 3))
def test_parts_are_disjoint_and_folds_cover_everyone(subjects, folds, seed):
    tested = []
    for fold in range(folds):
        split = split_subjects(subjects, Protocol(folds=folds, fold=fold, seed=seed))
        parts = [split.train, split.validation, split.test]
        assert sorted(name for part in parts for name in part) == sorted(subjects)
        assert all(parts)
        tested += split.test
    assert sorted(tested) == sorted(subjects)


def test_the_order_of_the_names_does_not_matter():
    subjects = [f"c/S{i:03d}" for i in range(20)]
    assert split_subjects(subjects, Protocol()) == split_subjects(reversed(subjects), Protocol())


def test_all_has_no_test_subjects():
    split = split_subjects(map(str, range(8)), Protocol(kind="all"))
    assert split.test == ()
    assert len(split.validation) == 2


def test_too_few_subjects_are_refused():
    with pytest.raises(RecipeError, match="too few subjects"):
        split_subjects(["a", "b"], Protocol())
