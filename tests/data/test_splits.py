"""Subjects are dealt once, by name alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.config.protocol import Protocol
from au_dist.core.errors import RecipeError
from au_dist.data.splits import published_lists, split_subjects

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


@pytest.mark.parametrize("seed", range(4))
def test_validation_subjects_are_not_the_head_of_the_order_that_made_the_folds(seed):
    subjects = [f"c/S{i:03d}" for i in range(40)]
    # As many folds as subjects: each tests the next of that order.
    order = [split_subjects(subjects, Protocol(folds=40, fold=k, seed=seed)).test[0] for k in range(40)]
    ranks = sorted(order.index(name) for name in split_subjects(subjects, Protocol(kind="all", seed=seed)).validation)
    assert len(ranks) == 10
    # From both halves of it.
    assert {rank // 20 for rank in ranks} == {0, 1}


def test_the_dealing_is_pinned():
    """Subjects that must never change sides between versions: every result of this project depends on them."""
    split = split_subjects([f"c/S{i}" for i in range(10)], Protocol())
    assert (split.validation, split.test) == PINNED


PINNED = (("c/S0", "c/S5"), ("c/S1", "c/S3", "c/S4", "c/S6"))


def test_all_has_no_test_subjects():
    split = split_subjects(map(str, range(8)), Protocol(kind="all"))
    assert split.test == ()
    assert len(split.validation) == 2


def test_without_validation_the_training_set_is_whole():
    subjects = [f"c/S{i}" for i in range(10)]
    with_some, whole = (split_subjects(subjects, Protocol(validation=share)) for share in (0.25, 0))
    assert whole.test == with_some.test
    assert whole.validation == ()
    assert whole.train == tuple(sorted({*with_some.train, *with_some.validation}))


def test_too_few_subjects_are_refused():
    with pytest.raises(RecipeError, match="too few subjects"):
        split_subjects(["a", "b"], Protocol())


def everyone(corpus):
    return [f"{corpus}/{name}" for part in published_lists()[corpus].values() for name in part]


@pytest.mark.parametrize(("corpus", "sizes"), [("bp4d", [14, 14, 13]), ("disfa", [9, 9, 9]), ("bp4d+", [35] * 4)])
def test_published_parts_cover_a_corpus_and_never_meet(corpus, sizes):
    subjects = everyone(corpus)
    assert len(set(subjects)) == len(subjects) == sum(sizes)
    for fold, size in enumerate(sizes):
        split = split_subjects(subjects, Protocol(kind="published", fold=fold))
        assert len(split.test) == size
        assert set(split.test) == {f"{corpus}/{name}" for name in published_lists()[corpus][f"part{fold + 1}"]}
        assert sorted((*split.train, *split.validation, *split.test)) == sorted(subjects)


def test_list_files_number_their_folds_from_the_other_end():
    by_file = split_subjects(everyone("bp4d"), Protocol(kind="published", numbering="file", fold=0))
    by_part = split_subjects(everyone("bp4d"), Protocol(kind="published", fold=2))
    assert by_file == by_part
    assert "bp4d/F004" in by_file.test
    with pytest.raises(RecipeError, match=r"no file numbering.*numbering: part"):
        split_subjects(everyone("bp4d+"), Protocol(kind="published", numbering="file"))


def test_fera_tests_on_even_numbers():
    split = split_subjects(everyone("bp4d"), Protocol(kind="fera2015"))
    assert len(split.test) == 20
    assert all(int(name[-3:]) % 2 == 0 for name in split.test)


def test_corpora_together_each_by_its_own_lists():
    subjects = [*everyone("bp4d"), *everyone("disfa"), "affwild2/a", "affwild2/b"]
    partitions = {"train": ["affwild2/a"], "validation": ["affwild2/b"]}
    split = split_subjects(subjects, Protocol(kind="published"), partitions)
    assert len(split.test) == 14 + 9 + 1
    other = split_subjects(subjects, Protocol(kind="corpora", corpora=("disfa",)))
    assert set(other.test) == set(everyone("disfa"))


@pytest.mark.parametrize(
    ("subjects", "protocol", "partitions", "match"),
    [
        (["bp4d/F001", "bp4d/X9"], {"kind": "published"}, {}, "not in the lists of bp4d.*X9"),
        (["bp4d/F001", "disfa/SN001"], {"kind": "fera2015"}, {}, "not in FERA 2015.*SN001"),
        (["gft/001A", "gft/001B"], {"kind": "published"}, {}, "No subject lists.*no parts"),
        (["gft/1", "gft/2"], {"kind": "published", "fold": 1}, {"test": ["gft/1"]}, "one partition"),
        (["gft/1", "gft/2"], {"kind": "published"}, {"test": ["gft/1"], "train": ["gft/1"]}, "in two parts.*gft/1"),
        (["disfa/SN001"], {"kind": "published", "fold": 3}, {}, "no such fold.*0 to 2"),
        (["a/1", "a/2"], {"kind": "subjects", "subjects": ["a/3"]}, {}, "no such subjects.*a/3"),
        (["a/1", "a/2"], {"kind": "corpora", "corpora": ["b"]}, {}, "too few"),
    ],
)
def test_protocols_that_do_not_fit_the_set_are_refused(subjects, protocol, partitions, match):
    with pytest.raises(RecipeError, match=match):
        split_subjects(subjects, Protocol(**protocol), partitions)


@pytest.mark.parametrize("raw", [{"kind": "subjects"}, {"subjects": ["a"]}, {"kind": "corpora"}, {"corpora": ["a"]}])
def test_lists_belong_to_their_kind(raw):
    with pytest.raises(ValueError, match="only there"):
        Protocol(**raw)
