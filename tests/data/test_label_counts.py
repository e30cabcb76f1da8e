"""Label budgets are nested and alike everywhere; labels are counted; rare action units are drawn more often."""

import numpy as np
import pytest

from au_dist.config.sections import Labels
from au_dist.core.errors import RecipeError
from au_dist.data.label_counts import LabelCounts, count_labels, mixed
from au_dist.data.labels import allowed, known
from au_dist.data.order import Order, RowGroupRef
from au_dist.data.splits import training_groups
from au_dist.shards.format import decode_row, read_manifest, read_row_group


def row(video="a/b/v", first=0, frames=1000):
    return {"clip_id": f"{video}/{first:06d}", "number": list(range(first, first + frames))}


def test_budgets_are_nested():
    smaller = np.zeros(1000, bool)
    for share in (0.01, 0.02, 0.05, 0.1, 0.5, 1.0):
        larger = allowed(row(), Labels(share=share))
        assert (larger >= smaller).all()
        assert abs(larger.mean() - share) < 4 * (share / 1000) ** 0.5
        smaller = larger


def test_a_budget_belongs_to_frames_and_not_to_clips():
    whole, labels = allowed(row(), Labels(share=0.1)), Labels(share=0.1)
    parts = [allowed(row(first=first, frames=50), labels) for first in range(0, 1000, 50)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (allowed(row("a/b/w"), labels) != whole).any()
    assert (allowed(row(), Labels(share=0.1, seed=1)) != whole).any()


def test_a_budget_is_pinned():
    """Frames that must never change between versions: results with few labels depend on them."""
    assert np.flatnonzero(allowed(row(frames=100), Labels(share=0.05))).tolist() == PINNED


PINNED = [41, 56, 61, 73, 76, 81, 83]


def test_corpora_are_drawn_in_their_shares():
    groups = tuple(RowGroupRef(0, k, 10) for k in range(40))
    corpus_C = np.repeat(["a"] * 30 + ["b"] * 10, 10)
    weight_C = mixed(np.linspace(0.5, 1.5, 400), corpus_C, {"a": 1, "b": 3})
    assert weight_C.sum() == pytest.approx(400)
    assert weight_C[corpus_C == "b"].sum() == pytest.approx(300)
    assert weight_C[1] / weight_C[0] == pytest.approx(np.linspace(0.5, 1.5, 400)[1] / 0.5)
    order = Order(groups, 0, 4, 2, weight_C)
    for epoch in range(3):
        copies = order.copies(epoch)
        assert copies.sum() == 400
        assert abs(copies[corpus_C == "b"].sum() - 300) <= 1
    without = mixed(np.ones(400), corpus_C, {"a": 0, "b": 1})
    assert not without[corpus_C == "a"].any()


@pytest.mark.parametrize("shares", [{"a": 1}, {"a": 1, "b": 1, "c": 1}, {"b": 0}])
def test_shares_of_other_corpora_are_refused(shares):
    with pytest.raises(RecipeError, match=r"not those of the training subjects.*Expected a, b"):
        mixed(np.ones(4), np.array(["a", "a", "b", "b"]), shares)


def clips_of(shards, manifest, groups):
    tables = [read_row_group(shards, manifest.shards[group.shard], group.group) for group in groups]
    return [decode_row(found, 12) for table in tables for found in table.to_pylist()]


@pytest.mark.parametrize("intensities", [False, True])
def test_the_census_counts_what_may_be_used(shards, intensities):
    manifest = read_manifest(shards)
    groups = training_groups(manifest, tuple(manifest.subjects)[:5])
    labels, columns = Labels(share=0.5), [3, 0]
    label_counts = count_labels(shards, manifest, groups, columns, labels, intensities=intensities)
    clips = clips_of(shards, manifest, groups)
    for index, clip in enumerate(clips):
        kept = allowed({"clip_id": clip.clip_id, "number": clip.number_T}, labels)
        y_TA = (clip.intensity_TA >= 1) if intensities else clip.y_TA
        assert (label_counts.known_CA[index] == kept.sum()).all()
        np.testing.assert_array_equal(label_counts.positive_CA[index], y_TA[kept][:, columns].sum(0))
    rates = label_counts.positive_CA.sum(0) / label_counts.known_CA.sum(0)
    np.testing.assert_allclose(label_counts.rates(), rates)


def test_without_a_budget_the_census_equals_the_manifest(shards):
    manifest = read_manifest(shards)
    groups = training_groups(manifest, tuple(manifest.subjects))
    label_counts = count_labels(shards, manifest, groups, list(range(12)), Labels(), intensities=False)
    np.testing.assert_allclose(label_counts.rates(), [rate for *_, rate in manifest.rates()])
    np.testing.assert_array_equal(label_counts.weights(0), np.ones(manifest.clips))


def test_rare_action_units_are_drawn_more_often():
    known_CA = np.full((100, 2), 4)
    positive_CA = np.zeros((100, 2), int)
    positive_CA[:2, 0] = 4  # 2 %
    positive_CA[10:70, 1] = 4  # 60 %: not rare
    weights = LabelCounts(known_CA, positive_CA).weights(0.5)
    assert weights.sum() == pytest.approx(100)
    assert weights[0] / weights[50] == pytest.approx(5)  # (0.5 / 0.02) ** 0.5
    assert len(np.unique(weights[2:])) == 1
    assert LabelCounts(known_CA, positive_CA).weights(1.0)[0] > weights[0]


def test_clips_without_a_label_are_not_drawn():
    known_CA = np.array([[0, 0], [0, 1], [4, 4]])
    weights = LabelCounts(known_CA, np.minimum(known_CA, 1)).weights(1.0)
    assert weights[0] == 0
    assert weights.sum() == pytest.approx(2)
    with pytest.raises(RecipeError, match=r"data.labels.share"):
        LabelCounts(known_CA * 0, known_CA * 0).weights(0.0)


def test_noise_turns_the_stated_share_of_known_labels_for_training_only(shards):
    manifest = read_manifest(shards)
    groups = training_groups(manifest, tuple(manifest.subjects))
    rows = [r for g in groups for r in read_row_group(shards, manifest.shards[g.shard], g.group).to_pylist()]
    labels = Labels(noise=0.3)
    clean, noisy = (np.concatenate([known(r, [2, 7], 12, some)[0] for r in rows]) for some in (Labels(), labels))
    assert abs((clean != noisy).mean() - 0.3) < 4 * (0.21 / clean.size) ** 0.5
    # An action unit's labels do not depend on which others are trained.
    alone = np.concatenate([known(r, [7], 12, labels)[0] for r in rows])
    np.testing.assert_array_equal(alone[:, 0], noisy[:, 1])
    unknown = {**rows[0], "valid": [False] * len(rows[0]["valid"]), "label": [0] * len(rows[0]["label"])}
    assert not known(unknown, [2], 12, labels)[0].any()
    intensities = [known(rows[0], [2], 12, some, intensities=True)[0] for some in (Labels(), labels)]
    np.testing.assert_array_equal(*intensities)
