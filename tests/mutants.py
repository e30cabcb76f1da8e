"""Changes that break a promise, each of which the fast tests must notice: `python tests/mutants.py [NAME ...]`.

Every mutant is made in a copy of the repository. The tests that are named with it run first, and the whole fast suite
only if they pass. A line of code that no mutant here breaks may still be untested; a mutant that survives surely is.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

#: As `make check` runs them; what checks this list itself would notice every mutant.
FAST = ["-m", "not slow and not ray and not s3 and not gpu and not slurm", "--ignore=tests/test_mutants.py"]

#: Seconds until a run of tests counts as hung, which is noticed, too; a busy machine does not come near.
LIMIT_S = 1200


class Mutant(NamedTuple):
    """A change of one place.

    Attributes:
        name: What it breaks.
        path: The file, relative to the repository.
        before: What stands there, exactly once.
        after: What is put in its place.
        tests: The test files that are expected to notice.
    """

    name: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTANTS = (
    # What must not be seen by whom.
    Mutant(
        "thresholds-from-test-subjects",
        "au_dist/scoring/evaluate.py",
        "    rows = scoring.judge(y_NA, valid_NA, score_NA, threshold_A)\n",
        "    if scoring.thresholds:\n"
        "        from au_dist.core.metrics import thresholds\n\n"
        "        threshold_A = thresholds(y_NA, valid_NA, score_NA)\n"
        "    rows = scoring.judge(y_NA, valid_NA, score_NA, threshold_A)\n",
        ("tests/scoring/test_evaluate.py",),
    ),
    Mutant(
        "training-subjects-are-scored",
        "au_dist/scoring/evaluate.py",
        "test = state.subjects.test",
        "test = state.subjects.test + state.subjects.train",
        ("tests/scoring/test_evaluate.py",),
    ),
    Mutant(
        "test-subjects-validate",
        "au_dist/runs/assembly.py",
        '"validation": context.split.validation}',
        '"validation": context.split.test}',
        ("tests/scoring/test_evaluate.py",),
    ),
    Mutant(
        "leak-check-forgets-validation",
        "au_dist/runs/context.py",
        "{*context.split.validation, *context.split.test}",
        "{*context.split.test}",
        ("tests/runs/test_initial_weights.py",),
    ),
    Mutant(
        "leak-check-forgets-test",
        "au_dist/runs/context.py",
        "{*context.split.validation, *context.split.test}",
        "{*context.split.validation}",
        ("tests/runs/test_initial_weights.py",),
    ),
    Mutant(
        "rates-of-all-subjects",
        "au_dist/runs/context.py",
        "rows = self.manifest.rates(self.split.train)",
        "rows = self.manifest.rates()",
        ("tests/runs/test_make_module.py",),
    ),
    Mutant(
        "validation-is-the-head-of-the-folds",
        "au_dist/data/splits.py",
        'word(f"{protocol.seed}/validation/{name}")',
        'word(f"{protocol.seed}/{name}")',
        ("tests/data/test_splits.py",),
    ),
    Mutant(
        "test-subjects-train",
        "au_dist/data/splits.py",
        "rest = sorted(set(names) - test, key",
        "rest = sorted(set(names), key",
        ("tests/data/test_splits.py",),
    ),
    Mutant(
        "folds-are-cut-from-names-in-order",
        "au_dist/data/splits.py",
        'dealt = sorted(names, key=lambda name: (word(f"{protocol.seed}/{name}"), name))',
        "dealt = sorted(names)",
        ("tests/data/test_splits.py",),
    ),
    Mutant(
        "labels-beyond-the-budget",
        "au_dist/data/labels.py",
        "return y_TA, valid_TA & allowed(row, config)[:, None]",
        "return y_TA, valid_TA",
        ("tests/data/test_label_counts.py",),
    ),
    Mutant(
        "budgets-are-not-nested",
        "au_dist/data/labels.py",
        'word(f"{config.seed}/label/{name}")',
        'word(f"{config.seed}/{config.share}/label/{name}")',
        ("tests/data/test_label_counts.py",),
    ),
    Mutant(
        "noise-turns-unknown-labels",
        "au_dist/data/label_noise.py",
        'np.where(valid_TA & (drawn("label noise")',
        'np.where((drawn("label noise")',
        ("tests/data/test_label_counts.py",),
    ),
    Mutant(
        "missed-positives-are-negatives-too",
        "au_dist/data/label_noise.py",
        "y_TA = np.where(valid_TA & (y_TA > 0) & ",
        "y_TA = np.where(valid_TA & (y_TA == 0) & ",
        ("tests/data/test_label_noise.py",),
    ),
    Mutant(
        "clean-validation-is-spoilt",
        "au_dist/config/sections.py",
        'return self if self.validation == "spoilt" else',
        "return self if True else",
        ("tests/data/test_label_noise.py",),
    ),
    Mutant(
        "the-probe-is-fitted-on-whom-it-is-judged-by",
        "au_dist/methods/ridge.py",
        "whole.without(_Sums.of(x_ND[held_N], y_NK[held_N])).solved(columns)",
        "whole.solved(columns)",
        ("tests/methods/test_ridge.py",),
    ),
    Mutant(
        "the-baseline-is-fitted-on-whom-it-is-judged-by",
        "au_dist/scoring/baseline.py",
        "frames(state.subjects.train, False)",
        "frames(state.subjects.test, False)",
        ("tests/scoring/test_baseline.py",),
    ),
    Mutant(
        "the-baseline-has-its-thresholds-from-whom-it-learnt",
        "au_dist/scoring/baseline.py",
        "frames(state.subjects.validation, True)",
        "frames(state.subjects.train, True)",
        ("tests/scoring/test_baseline.py",),
    ),
    Mutant(
        "the-baseline-is-of-the-trained-encoder",
        "au_dist/scoring/baseline.py",
        "    while recipe.init is not None:",
        "    while False:",
        ("tests/scoring/test_baseline.py",),
    ),
    Mutant(
        "a-run-that-is-worse-beats-the-baseline",
        "au_dist/scoring/baseline.py",
        "better = mine > theirs if scoring.beside[key] else mine < theirs",
        "better = mine > theirs",
        ("tests/scoring/test_baseline.py",),
    ),
    Mutant(
        "ridge-lets-the-network-settle",
        "au_dist/methods/learners/detection.py",
        '        self.register_buffer("strength_A", torch.full((num_aus,), torch.nan))\n        self.eval()\n',
        '        self.register_buffer("strength_A", torch.full((num_aus,), torch.nan))\n',
        ("tests/methods/test_ridge_task.py",),
    ),
    Mutant(
        "the-contrast-beside-cross-entropy-weighs-one",
        "au_dist/methods/learners/detection.py",
        "return mean + self.contrast_weight * self.contrast(",
        "return mean + self.contrast(",
        ("tests/methods/test_tasks.py",),
    ),
    Mutant(
        "an-interrupted-start-keeps-the-name",
        "au_dist/runs/claims.py",
        "    except BaseException:\n        if fresh:",
        "    except Exception:\n        if fresh:",
        ("tests/runs/test_refused_runs.py",),
    ),
    Mutant(
        "a-code-that-may-name-a-unit-is-left-out",
        "au_dist/corpora/own_codes.py",
        "if doubtful := [part for part in strange if names_a_unit(part)]:",
        "if doubtful := []:",
        ("tests/corpora/test_table.py",),
    ),
    Mutant(
        "a-test-frame-that-does-not-decode-is-judged",
        "au_dist/scoring/evaluate.py",
        "        valid_BA[~scored_B] = False\n",
        "",
        ("tests/scoring/test_evaluate.py",),
    ),
    Mutant(
        "a-clip-that-does-not-decode-is-learnt-from",
        "au_dist/data/batches.py",
        " & whole_B[:, None])",
        ")",
        ("tests/data/test_batches.py",),
    ),
    Mutant(
        "a-timeline-of-predict-is-a-recording",
        "au_dist/corpora/timelines.py",
        'return path.suffix == ".png" and',
        'return path.suffix == ".none" and',
        (
            "tests/corpora/test_table.py",
            "tests/video/test_video.py",
        ),
    ),
    Mutant(
        "passed-frames-wait-to-be-cleared",
        "au_dist/video/video.py",
        "if frame.rotation != self._angle:",
        "if frame.side_data is not None:",
        ("tests/video/test_video.py",),
    ),
    Mutant(
        "the-last-frame-of-an-avi-is-late",
        "au_dist/video/video.py",
        "late[packet.pts] = max(0, before - wait)",
        "late[packet.pts] = 0",
        ("tests/video/test_as_ffmpeg.py",),
    ),
    # Checkpoints and storage.
    Mutant(
        "complete-is-written-first",
        "au_dist/train/checkpoint.py",
        "    seal = {}\n    for name, data in files.items():\n",
        '    run.write(f"{below}{COMPLETE}", b"{}")\n    seal = {}\n    for name, data in files.items():\n',
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "prune-without-unsealing",
        "au_dist/train/checkpoint.py",
        '    run.delete(f"{folder(step)}/{COMPLETE}")\n    run.delete(folder(step))\n',
        "    run.delete(folder(step))\n",
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "replace-without-unsealing",
        "au_dist/train/checkpoint.py",
        '    run.delete(f"{place}/{COMPLETE}")  # first, as in `prune`\n',
        "",
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "a-pulled-model-is-complete-first",
        "au_dist/train/checkpoint.py",
        "    for name, data in files.items():\n        local.write(name, data)\n",
        '    local.write(COMPLETE, b"{}")\n    for name, data in files.items():\n        local.write(name, data)\n',
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "an-incomplete-checkpoint-is-listed",
        "au_dist/train/checkpoint.py",
        'if path.endswith(f"/{COMPLETE}"))',
        'if path.endswith(f"/{WEIGHTS}"))',
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "hashes-are-not-looked-at",
        "au_dist/train/checkpoint.py",
        'if expected is None or hashlib.sha256(data).hexdigest() != expected["sha256"]:',
        "if expected is None:",
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "one-who-was-taken-over-seals",
        "au_dist/train/checkpoint.py",
        '    check()\n    run.write(f"{below}{COMPLETE}"',
        '    run.write(f"{below}{COMPLETE}"',
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "the-worst-checkpoints-are-kept",
        "au_dist/train/checkpoint.py",
        "key=lambda step: (-values[step],",
        "key=lambda step: (values[step],",
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "half-a-file-gets-its-name",
        "au_dist/storage/store.py",
        "        name.unlink(missing_ok=True)\n        raise\n",
        "        os.replace(name, target)\n        raise\n",
        ("tests/storage/test_storage.py",),
    ),
    Mutant(
        "all-creators-win",
        "au_dist/storage/store.py",
        "        except FileExistsError:\n            return False\n",
        "        except FileExistsError:\n            return True\n",
        ("tests/storage/test_storage.py",),
    ),
    Mutant(
        "a-failed-upload-is-forgotten",
        "au_dist/train/uploader.py",
        "        begun = time.monotonic()\n        self.stored(wait=True)\n",
        "        begun = time.monotonic()\n",
        ("tests/train/test_uploader.py",),
    ),
    Mutant(
        "a-changed-manifest-is-read",
        "au_dist/shards/format.py",
        "    if manifest.digest() != manifest.sha256:\n",
        "    if not manifest.sha256:\n",
        ("tests/shards/test_shards.py", "tests/cli/test_cli.py"),
    ),
    Mutant(
        "what-is-busy-is-not-asked-again",
        "au_dist/storage/retries.py",
        "if not isinstance(failure, UnavailableError) or time",
        "if isinstance(failure, UnavailableError) or time",
        ("tests/storage/test_retries.py",),
    ),
    Mutant(
        "a-silent-store-is-waited-for",
        "au_dist/storage/clients.py",
        "filesystem.retries = 1",
        "filesystem.retries = 5",
        ("tests/storage/test_access.py",),
    ),
    # The order of the data.
    Mutant(
        "the-same-order-in-every-epoch",
        "au_dist/data/order.py",
        'rng(order.seed, "order", epoch)',
        'rng(order.seed, "order")',
        ("tests/data/test_order.py",),
    ),
    Mutant(
        "the-same-mixing-in-every-epoch",
        "au_dist/data/order.py",
        'rng(self.seed, "mix", block.epoch, block.lane, block.number)',
        'rng(self.seed, "mix", block.lane, block.number)',
        ("tests/data/test_order.py",),
    ),
    Mutant(
        "longer-lanes-do-not-rotate",
        "au_dist/data/order.py",
        "return epoch * share + (epoch * left + self.lanes - 1 - lane) // self.lanes",
        "return epoch * (share + (lane < left))",
        ("tests/data/test_order.py",),
    ),
    Mutant(
        "ranks-read-neighbouring-lanes",
        "au_dist/data/order.py",
        "return tuple(range(rank, lanes, world))",
        "return tuple(range(rank * lanes // world, (rank + 1) * lanes // world))",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "seeds-are-added",
        "au_dist/core/seeds.py",
        "np.random.default_rng([word(part) if isinstance(part, str) else int(part) for part in address])",
        "np.random.default_rng(sum(word(part) if isinstance(part, str) else int(part) for part in address))",
        ("tests/data/test_order.py",),
    ),
    Mutant(
        "both-views-are-one",
        "au_dist/data/draws.py",
        'addresses = [(seed, "view", *clip, view) for clip',
        'addresses = [(seed, "view", *clip) for clip',
        ("tests/data/test_batches.py",),
    ),
    Mutant(
        "the-same-views-in-every-epoch",
        "au_dist/data/rows.py",
        'turns = [f"{epoch}/{copy}" if copy else str(epoch) for copy in copies]',
        'turns = [f"0/{copy}" if copy else "0" for copy in copies]',
        ("tests/data/test_batches.py",),
    ),
    Mutant(
        "a-gap-in-a-lane-is-passed-over",
        "au_dist/data/batches.py",
        "        if len(wrong):\n",
        "        if len(wrong) == len(positions):\n",
        ("tests/data/test_batches.py",),
    ),
    # Plan and resume.
    Mutant(
        "no-steps-of-warm-up",
        "au_dist/train/plan.py",
        "warmup=round(recipe.optim.warmup * steps)",
        "warmup=0",
        ("tests/train/test_batch_plan.py",),
    ),
    Mutant(
        "the-learning-rate-does-not-warm-up",
        "au_dist/train/plan.py",
        "        return peak * (step + 1) / warmup\n",
        "        return peak\n",
        ("tests/train/test_batch_plan.py",),
    ),
    Mutant(
        "the-learning-rate-does-not-fall",
        "au_dist/train/plan.py",
        "(1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))",
        "(1 + math.cos(math.pi * (step - warmup) / max(1, 2 * (steps - warmup))))",
        ("tests/train/test_batch_plan.py",),
    ),
    Mutant(
        "the-last-stage-learns-slowest",
        "au_dist/train/plan.py",
        "optim.layer_decay ** (last - stage)",
        "optim.layer_decay**stage",
        ("tests/train/test_batch_plan.py",),
    ),
    Mutant(
        "a-step-is-one-contrast-set",
        "au_dist/train/plan.py",
        "        return steps * self.accumulate\n",
        "        return steps\n",
        ("tests/train/test_batch_plan.py",),
    ),
    Mutant(
        "the-data-goes-on-at-the-step",
        "au_dist/runs/worker.py",
        "rank_dataset(kept, lanes, world.size, plan.sets(start))",
        "rank_dataset(kept, lanes, world.size, start)",
        ("tests/runs/test_resume.py",),
    ),
    Mutant(
        "the-worker-goes-on-at-the-step",
        "au_dist/runs/worker.py",
        "interleave_lanes(tables, lanes, plan.sets(start) * plan.take, plan.take)",
        "interleave_lanes(tables, lanes, start * plan.take, plan.take)",
        ("tests/runs/test_resume.py",),
    ),
    Mutant(
        "damaged-checkpoints-stay-sealed",
        "au_dist/runs/worker.py",
        "        checkpoint.invalidate(context.run, step)\n",
        "        pass\n",
        ("tests/runs/test_resume.py",),
    ),
    Mutant(
        "steps-that-were-undone-stay-in-the-record",
        "au_dist/train/record.py",
        ' if row["step"] <= step]',
        "]",
        ("tests/train/test_record.py",),
    ),
    Mutant(
        "the-ledger-counts-sets-as-positions",
        "au_dist/train/ledger.py",
        "self.next * self.take + k",
        "self.next + k",
        ("tests/train/test_ledger.py",),
    ),
    Mutant(
        "the-ledger-counts-what-is-done-again-twice",
        "au_dist/train/ledger.py",
        "once = whole.group_by(whole.column_names, use_threads=False).aggregate([])",
        "once = whole",
        ("tests/train/test_ledger.py",),
    ),
    # What is learnt.
    Mutant(
        "class-weights-are-inverted",
        "au_dist/methods/learners/detection.py",
        "min(MOST_WEIGHT, (1 - rate) / rate) if rate > 0",
        "min(MOST_WEIGHT, rate / (1 - rate)) if rate > 0",
        ("tests/runs/test_make_module.py",),
    ),
    Mutant(
        "class-weights-have-no-limit",
        "au_dist/methods/learners/detection.py",
        "min(MOST_WEIGHT, (1 - rate) / rate)",
        "(1 - rate) / rate",
        ("tests/runs/test_make_module.py",),
    ),
    Mutant(
        "the-minority-is-inverted",
        "au_dist/methods/learners/aunce.py",
        "0.0 if rate > 0.5 else 1.0",
        "1.0 if rate > 0.5 else 0.0",
        ("tests/runs/test_make_module.py",),
    ),
    Mutant(
        "class-weights-are-not-used",
        "au_dist/model/losses.py",
        "pos_weight=weight_A, reduction",
        "pos_weight=None, reduction",
        ("tests/model/test_losses.py",),
    ),
    Mutant(
        "unknown-labels-are-learnt-from",
        "au_dist/model/losses.py",
        "return (loss_BA * valid_BA).sum(), valid_BA.sum()",
        "return loss_BA.sum(), valid_BA.sum()",
        ("tests/model/test_losses.py",),
    ),
    Mutant(
        "a-nan-for-unknown-reaches-the-gradient",
        "au_dist/model/losses.py",
        "    y_BA = torch.where(valid_BA, y_BA.to(found_BA.dtype), found_BA.detach())\n"
        "    return (found_BA - y_BA).square().sum(), valid_BA.sum()\n",
        "    return ((found_BA - y_BA).square() * valid_BA).sum(), valid_BA.sum()\n",
        ("tests/model/test_losses.py",),
    ),
    Mutant(
        "an-anchor-is-its-own-positive",
        "au_dist/model/losses.py",
        'own_R = place_N[index_M[row_R]] if mode == "corrected" else None',
        "own_R = None",
        ("tests/model/test_losses.py",),
    ),
    Mutant(
        "the-exponents-are-swapped",
        "au_dist/model/losses.py",
        "weight = beta[1] if label == int(minority_A[au]) else beta[0]",
        "weight = beta[0] if label == int(minority_A[au]) else beta[1]",
        ("tests/model/test_losses.py",),
    ),
    Mutant(
        "action-units-without-a-signal-count",
        "au_dist/model/losses.py",
        "return (per_au * weight).sum() / (count_A > 0).sum().clamp(min=1)",
        "return (per_au * weight).mean()",
        ("tests/model/test_losses.py",),
    ),
    # Ranks.
    Mutant(
        "the-offset-of-the-rank-is-forgotten",
        "au_dist/methods/learners/aunce.py",
        "                index_M + self.world.rank * anchors,\n",
        "                index_M,\n",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "the-other-view-is-on-the-first-rank",
        "au_dist/methods/learners/aunce.py",
        "index_M.roll(anchors // 2) + self.world.rank * anchors",
        "index_M.roll(anchors // 2)",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "all-ranks-draw-for-the-rows-of-the-first",
        "au_dist/dist/world.py",
        "rows // views // mine))[:, :, self.rank]",
        "rows // views // mine))[:, :, 0]",
        ("tests/train/test_ranks.py", "tests/model/test_drop_path.py"),
    ),
    Mutant(
        "layers-draw-whatever-comes",
        "au_dist/train/loop.py",
        'torch.manual_seed(torch_seed(self.seed, "layers", number))',
        "torch.manual_seed(self.seed)",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "kept-samples-are-not-scaled",
        "au_dist/model/drop_path.py",
        " / (1 - self.chance)",
        "",
        ("tests/model/test_drop_path.py",),
    ),
    Mutant(
        "a-rank-divides-by-its-own-count",
        "au_dist/methods/learners/aunce.py",
        "count_A = all_reduce_sum(counts_MA.sum(0).float(), self.world)",
        "count_A = self.world.size * counts_MA.sum(0).float()",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-gather-returns-its-own-gradient-only",
        "au_dist/dist/collectives.py",
        "        dist.reduce_scatter_tensor(mine, grad.contiguous())\n",
        "        mine.copy_(grad[dist.get_rank() * ctx.rows :][: ctx.rows])\n",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-sum-returns-its-own-gradient-only",
        "au_dist/dist/collectives.py",
        "        whole = grad.contiguous().clone()\n        dist.all_reduce(whole)\n",
        "        whole = grad.contiguous().clone()\n",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-total-is-of-one-rank",
        "au_dist/dist/collectives.py",
        "    return x if world.size == 1 else _AllReduceSum.apply(x)\n",
        "    return x\n",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-rank-leaves-by-itself",
        "au_dist/train/loop.py",
        "tally.leaving = Leaving.AT_ONCE if at_once else Leaving.STORED if leaving else Leaving.NO",
        "tally.leaving = self.host.leaving()",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-rank-skips-by-itself",
        "au_dist/train/loop.py",
        "        if broken:\n",
        "        if not torch.isfinite(loss.detach()):\n",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "the-last-step-is-not-validated",
        "au_dist/train/loop.py",
        "if done % plan.every == 0 or done == plan.steps:",
        "if done % plan.every == 0:",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-step-without-a-loss-moves-the-weights",
        "au_dist/train/loop.py",
        "0.0 if len(tally.skipped) == self.plan.accumulate else rate",
        "rate",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-clip-that-does-not-decode-is-a-candidate",
        "au_dist/methods/learners/predictive.py",
        "key_KC = all_gather(key_QC, self.world)[there_K]",
        "key_KC = all_gather(key_QC, self.world)",
        ("tests/methods/test_tasks.py",),
    ),
    Mutant(
        "a-frozen-network-settles-while-it-is-judged",
        "au_dist/methods/learners/detection.py",
        "self.network.train(self.training and contrast_set < self.bn_warmup)",
        "self.network.train(contrast_set < self.bn_warmup)",
        ("tests/methods/test_tasks.py",),
    ),
    Mutant(
        "an-update-that-is-left-out-counts",
        "au_dist/dist/loss_scale.py",
        "            self.size, self.good = self.size / 2, 0\n",
        "            self.size, self.good, self.applied = self.size / 2, 0, self.applied + 1\n",
        ("tests/dist/test_loss_scale.py",),
    ),
    Mutant(
        "too-many-damaged-clips-are-tolerated",
        "au_dist/train/error_budget.py",
        "if clips <= self.unreadable * WINDOW * self.contrast:",
        "if clips <= self.unreadable * WINDOW * self.contrast * 2:",
        ("tests/train/test_error_budget.py",),
    ),
    Mutant(
        "damage-is-never-forgotten",
        "au_dist/train/error_budget.py",
        "(deque[tuple[str, ...]](maxlen=WINDOW) for _ in range(2))",
        "(deque[tuple[str, ...]]() for _ in range(2))",
        ("tests/train/test_error_budget.py",),
    ),
    Mutant(
        "those-ahead-are-named-as-late",
        "au_dist/runs/heartbeat.py",
        "if order == min(where.values())]",
        "if order == max(where.values())]",
        ("tests/runs/test_heartbeat.py",),
    ),
    # Metrics.
    Mutant(
        "a-threshold-is-a-score",
        "au_dist/core/metrics.py",
        "return float((score_N[best] + below) / 2)",
        "return float(score_N[best])",
        ("tests/core/test_metrics.py",),
    ),
    Mutant(
        "a-threshold-parts-equal-scores",
        "au_dist/core/metrics.py",
        "last: np.ndarray = np.append(np.diff(score_N) != 0, True)",
        "last: np.ndarray = np.ones(len(score_N), bool)",
        ("tests/core/test_metrics.py",),
    ),
    Mutant(
        "ties-count-as-wins",
        "au_dist/core/metrics.py",
        "rank_N = (ends - (counts - 1) / 2)[inverse]",
        "rank_N = ends[inverse]",
        ("tests/core/test_metrics.py",),
    ),
    Mutant(
        "unknown-labels-are-judged",
        "au_dist/core/metrics.py",
        "    for index, threshold in enumerate(threshold_A):\n"
        "        known: np.ndarray = valid_NA[:, index].astype(bool)\n",
        "    for index, threshold in enumerate(threshold_A):\n"
        "        known: np.ndarray = valid_NA[:, index].astype(bool) | True\n",
        ("tests/core/test_metrics.py",),
    ),
    Mutant(
        "action-units-without-a-value-count-as-zero",
        "au_dist/core/metrics.py",
        "values = [row[key] for row in rows if not np.isnan(row[key])]",
        "values = [np.nan_to_num(row[key]) for row in rows]",
        ("tests/core/test_metrics.py",),
    ),
    # Room, recipes, campaigns.
    Mutant(
        "sizes-do-not-share-the-lanes",
        "au_dist/compat/ray_train.py",
        "return max((size for size in self._sizes if size <= self._room), default=0)",
        "return int(self._room)",
        ("tests/compat/test_elastic_policy.py",),
    ),
    Mutant(
        "nodes-that-drain-are-room",
        "au_dist/compat/ray_train.py",
        "may = set(reserved_resources) - draining()",
        "may = set(reserved_resources)",
        ("tests/compat/test_elastic_policy.py",),
    ),
    Mutant(
        "a-group-changes-its-size-at-once",
        "au_dist/compat/ray_train.py",
        "            self._before = self._newest()\n            return NoopDecision()\n",
        "            return decision\n",
        ("tests/compat/test_elastic_policy.py",),
    ),
    Mutant(
        "controllers-need-no-room",
        "cluster/preflight.py",
        "rest.append((home[0] - controllers, *home[1:]))",
        "rest.append(home)",
        ("tests/cluster/test_preflight.py",),
    ),
    Mutant(
        "gpus-are-not-counted",
        "cluster/preflight.py",
        "if left < 0 or gpu < workers * worker_gpu:",
        "if left < 0:",
        ("tests/cluster/test_preflight.py",),
    ),
    Mutant(
        "data-tasks-need-no-room",
        "cluster/preflight.py",
        "if held >= tasks), default=-1)",
        "), default=-1)",
        ("tests/cluster/test_preflight.py",),
    ),
    Mutant(
        "trials-leave-reading-no-room",
        "tuning/fit.py",
        "return holds(recipe, nodes, workers) and (always_room or blocking > workers)",
        "return holds(recipe, nodes, workers)",
        ("tests/tuning/test_fit.py",),
    ),
    Mutant(
        "trials-share-no-cpus-with-reading",
        "au_dist/runs/room.py",
        "_cpus(either) >= reading + workers * units(recipe.workers.cpus)",
        "_cpus(either) >= workers * units(recipe.workers.cpus)",
        ("tests/tuning/test_fit.py",),
    ),
    Mutant(
        "the-worst-trial-is-first",
        "tuning/report.py",
        "-(row.metric or 0.0)",
        "(row.metric or 0.0)",
        ("tests/tuning/test_campaign_report.py",),
    ),
    Mutant(
        "trials-without-a-metric-are-first",
        "tuning/report.py",
        "key=lambda row: (row.metric is None,",
        "key=lambda row: (row.metric is not None,",
        ("tests/tuning/test_campaign_report.py",),
    ),
    Mutant(
        "all-trials-draw-the-same",
        "tuning/study.py",
        'rng(self._campaign.seed, "campaign", drawn)',
        'rng(self._campaign.seed, "campaign")',
        ("tests/tuning/test_study.py",),
    ),
    Mutant(
        "a-taken-name-is-noticed-after-ray-started",
        "tuning/run.py",
        "    check_claim(campaign, manifest)\n    return manifest\n",
        "    return manifest\n",
        ("tests/tuning/test_campaign.py",),
    ),
    Mutant(
        "trying-a-place-leaves-something",
        "tuning/claims.py",
        "    place.delete(tried)\n",
        "",
        ("tests/tuning/test_campaign.py",),
    ),
    Mutant(
        "workers-without-a-driver-are-started-again",
        "au_dist/runs/failure_policy.py",
        "        if self.orphaned():\n",
        "        if False:\n",
        ("tests/runs/test_failure_policy.py",),
    ),
    Mutant(
        "the-same-command-is-another-job",
        "cluster/jobs.py",
        "    if last and runs[ids[last]]:\n",
        "    if False:\n",
        ("tests/cluster/test_jobs.py",),
    ),
    Mutant(
        "any-key-is-the-nearest",
        "au_dist/config/files.py",
        'near = difflib.get_close_matches(str(first["loc"][-1]), [*known, *former], n=1, cutoff=0.5)',
        "near = known[:1]",
        ("tests/config/test_config.py",),
    ),
    Mutant(
        "a-name-changes-the-science",
        "au_dist/recipes/recipe.py",
        'places = dict.fromkeys(("name", "runs", "shards", "workers", "checkpoint", "tracking"), True)',
        'places = dict.fromkeys(("runs", "shards", "workers", "checkpoint", "tracking"), True)',
        ("tests/config/test_config.py",),
    ),
    Mutant(
        "lighten-file-first",
        "au_dist/train/checkpoint.py",
        "        place.write(COMPLETE, json.dumps(kept, indent=1).encode())\n        for name",
        "        for name",
        ("tests/train/test_checkpoint.py",),
    ),
    Mutant(
        "workers-stay-after-a-failure",
        "au_dist/runs/run_queue.py",
        "self._closed |= self._starts > 1",
        "pass",
        ("tests/runs/test_run_queue.py",),
    ),
    Mutant(
        "idle-workers-stay",
        "au_dist/runs/run_queue.py",
        "self._clock() - self._since >= self._idle_s",
        "self._clock() < self._since",
        ("tests/runs/test_run_queue.py",),
    ),
    Mutant(
        "a-dropped-run-is-stored",
        "au_dist/train/loop.py",
        "            if tally.leaving is Leaving.AT_ONCE:\n                break\n",
        "",
        ("tests/train/test_ranks.py",),
    ),
    Mutant(
        "a-run-is-dropped-for-the-one-before",
        "au_dist/runs/coordinator.py",
        "        self.leaving = Leaving.NO\n        return super().give(job)",
        "        return super().give(job)",
        ("tests/runs/test_coordinator.py",),
    ),
    Mutant(
        "labels-of-nodes-are-not-looked-at",
        "au_dist/core/nodes.py",
        'return all(f"{key}={value}" in node for key, value in labels.items())',
        "return True",
        ("tests/cluster/test_preflight.py",),
    ),
    Mutant(
        "one-look-is-no-room",
        "au_dist/runs/coordinator.py",
        "if words is not None and self._short and now",
        "if words is not None and now",
        ("tests/runs/test_room_for_workers.py",),
    ),
    Mutant(
        "machines-on-their-way-are-not-waited-for",
        "au_dist/compat/ray_train.py",
        "elif now - self._began_short < COMING_S and self._coming():",
        "elif False:",
        ("tests/compat/test_elastic_policy.py",),
    ),
    Mutant(
        "a-tracker-hears-of-no-validation",
        "au_dist/runs/trackers.py",
        "if isinstance(event, StepDone | Validated) and not",
        "if isinstance(event, StepDone) and not",
        ("tests/runs/test_trackers.py",),
    ),
    Mutant(
        "a-crash-loop-counts-as-progress",
        "au_dist/runs/gauges.py",
        "        if isinstance(event, StepDone | Validated | Stored):\n",
        "        if event is not None:\n",
        ("tests/runs/test_gauges.py",),
    ),
    Mutant(
        "the-last-good-loss-stays",
        "au_dist/runs/gauges.py",
        "                self._values.pop((gauge, metric), None)\n",
        "                pass\n",
        ("tests/runs/test_gauges.py",),
    ),
    Mutant(
        "a-run-is-measured-with-what-another-was",
        "au_dist/runs/gauges.py",
        '        self._values = {(name, ""): 0.0 for name in COUNTS}\n',
        '        self._values |= {(name, ""): 0.0 for name in COUNTS}\n',
        ("tests/runs/test_gauges.py",),
    ),
    Mutant(
        "who-gives-way-takes-it-back",
        "tuning/room.py",
        "now - self._gave_way < TURN_S",
        "False",
        ("tests/tuning/test_room.py",),
    ),
    Mutant(
        "a-turn-has-no-end",
        "tuning/room.py",
        'self._gave_way, self._gives_since = -float("inf"), float("inf")  # they',
        "pass  # they",
        ("tests/tuning/test_room.py",),
    ),
    Mutant(
        "who-never-begins-is-given-way-to-for-ever",
        "tuning/room.py",
        "if now - self._gives_since > PATIENT_S:",
        "if False:",
        ("tests/tuning/test_room.py",),
    ),
    Mutant(
        "a-password-of-a-tracker-is-shown",
        "au_dist/runs/trackers.py",
        '_CREDENTIALS.sub("//", str(error).strip().partition("\\n")[0])[:200]',
        'str(error).strip().partition("\\n")[0][:200]',
        ("tests/runs/test_trackers.py",),
    ),
    Mutant(
        "idle-workers-stay-where-another-campaign-waits",
        "tuning/search.py",
        "self._presence.release(number)",
        "pass",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "released-workers-stay",
        "tuning/trial.py",
        "            if is_released():\n                self._let_go()\n",
        "            if is_released():\n",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "what-was-seen-before-a-claim-is-good",
        "tuning/search.py",
        "if self._look(anew=True) is None:",
        "if self._look() is None:",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "idle-workers-take-room",
        "tuning/room.py",
        "if not idle and not fits(",
        "if not fits(",
        ("tests/tuning/test_room.py",),
    ),
    Mutant(
        "a-trial-is-worth-the-runs-that-are-done",
        "tuning/record.py",
        "if len(self.history) == self.runs else -math.inf",
        "if self.history else -math.inf",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "a-draw-that-was-cut-off-counts",
        "tuning/study.py",
        "(TORN, EARLIER)",
        "(EARLIER,)",
        ("tests/tuning/test_study.py",),
    ),
    Mutant(
        "what-was-stopped-goes-on",
        "tuning/study.py",
        "trial.user_attrs.get(STOPS) in trial.intermediate_values",
        "False",
        ("tests/tuning/test_study.py",),
    ),
    Mutant(
        "a-password-is-stored",
        "tuning/database.py",
        'if parts.password is not None or "password=" in parts.query:',
        "if False:",
        ("tests/tuning/test_database.py",),
    ),
    Mutant(
        "earlier-trials-of-other-recipes-count",
        "tuning/earlier.py",
        "if _science(campaign, values) == recipe.science():",
        "if True:",
        ("tests/tuning/test_earlier.py",),
    ),
    Mutant(
        "what-costs-as-much-is-on-the-front",
        "tuning/front.py",
        "if cost(campaign, trial) < least:",
        "if cost(campaign, trial) <= least:",
        ("tests/tuning/test_front.py",),
    ),
    Mutant(
        "room-forgets-starting",
        "tuning/room.py",
        "fits(self._recipe, free, starting + begin + 1)",
        "fits(self._recipe, free, begin + 1)",
        ("tests/tuning/test_room.py",),
    ),
    Mutant(
        "campaigns-do-not-share",
        "tuning/room.py",
        "fewer = any(count < running + idle for count in waiting)",
        "fewer = False",
        ("tests/tuning/test_room.py",),
    ),
    Mutant(
        "draw-without-room",
        "tuning/search.py",
        "            if not self._has_room():\n                return None\n",
        "",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "retention-of-those-under-way",
        "tuning/retention.py",
        "if trial.state in RESULTS)",
        'if trial.state in (*RESULTS, "unfinished"))',
        ("tests/tuning/test_retention.py",),
    ),
    Mutant(
        "retention-of-the-worst",
        "tuning/retention.py",
        "key=lambda one: (-one.metric, one.number)",
        "key=lambda one: (one.metric, one.number)",
        ("tests/tuning/test_retention.py",),
    ),
    Mutant(
        "interval-without-its-degrees",
        "tuning/intervals.py",
        "t.ppf((1 + SURE) / 2, count - 1)",
        "t.ppf((1 + SURE) / 2, count)",
        ("tests/tuning/test_intervals.py",),
    ),
    Mutant(
        "pseudo-values-of-one-too-many",
        "tuning/intervals.py",
        "count * whole - (count - 1) * value",
        "count * whole - count * value",
        ("tests/tuning/test_intervals.py",),
    ),
    Mutant(
        "left-out-is-who-is-kept",
        "au_dist/methods/base.py",
        "self.subject_N != name",
        "self.subject_N == name",
        ("tests/methods/test_judged.py",),
    ),
    Mutant(
        "winner-and-other-in-turn",
        "tuning/confirm.py",
        "one, other = left_out[k] or {}, left_out[k + 1] or {}",
        "other, one = left_out[k] or {}, left_out[k + 1] or {}",
        ("tests/tuning/test_confirm.py",),
    ),
    Mutant(
        "one-interval-is-enough",
        "tuning/confirmation.py",
        "min(interval.low for interval in self.intervals.values()) > 0",
        "max(interval.low for interval in self.intervals.values()) > 0",
        ("tests/tuning/test_confirm.py",),
    ),
    Mutant(
        "burns-every-trial",
        "tuning/search.py",
        "self._fruitless.append(words)",
        "self._fruitless.clear()",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "a-validation-is-no-fruit",
        "tuning/search.py",
        "            return\n        self._fruitless.clear()\n",
        "            return\n",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "median-judges-again",
        "tuning/search.py",
        'if trial.runs == 1 and result["validation"] < max(trial.history, default=0):',
        "if False:",
        ("tests/tuning/test_search.py",),
    ),
    Mutant(
        "change-of-the-other-view",
        "au_dist/methods/learners/predictive.py",
        "next_BPCHW - there_BNCHW[:, first - 1 : first]",
        "next_BPCHW - seen_BNCHW[:, -1:]",
        ("tests/methods/test_validate_clips.py",),
    ),
    Mutant(
        "clips-that-do-not-decode-are-foreseen",
        "au_dist/methods/learners/predictive.py",
        "np.concatenate(found)[whole_M]",
        "np.concatenate(found)[: len(whole)]",
        ("tests/methods/test_validate_clips.py",),
    ),
    Mutant(
        "patience-of-any-rise",
        "tuning/budget.py",
        "metric > best + gain",
        "metric > best",
        ("tests/tuning/test_budget.py",),
    ),
)


class Found(NamedTuple):
    """What became of a mutant: the test that noticed it, None where none did, and the seconds that took."""

    test: str | None
    seconds: float


def faults(mutants: tuple[Mutant, ...] = MUTANTS) -> list[str]:
    """Return which mutants can no longer be made, and why."""
    found = []
    for mutant in mutants:
        path = ROOT / mutant.path
        times = path.read_text().count(mutant.before) if path.exists() else 0
        if times != 1:
            found.append(f"{mutant.name}: its text stands {times} times in {mutant.path}, not once")
        found += [f"{mutant.name}: there is no {test}" for test in mutant.tests if not (ROOT / test).exists()]
    return found


def copy_to(folder: Path) -> None:
    """Copy what git knows of, and what is new, to a folder."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


def noticed(folder: Path, *files: str) -> str | None:
    """Run the fast tests of some files in a copy, all when none is given; return which failed first, None if none."""
    # A mutant may be as long and as old as what it replaces: compiled files would not be made anew.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    command = [sys.executable, "-m", "pytest", *options, *FAST, *files]
    try:
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"hung for {LIMIT_S} s"
    if run.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", run.stdout, re.MULTILINE)
    return failed[1] if failed else f"pytest: {(run.stdout + run.stderr).strip()[-300:]}"


def look(folder: Path, mutant: Mutant) -> Found:
    """Make a mutant in a copy, look which test notices, and take it back."""
    begun, path = time.monotonic(), folder / mutant.path
    whole = path.read_text()
    path.write_text(whole.replace(mutant.before, mutant.after))
    try:
        test = noticed(folder, *mutant.tests) or noticed(folder)
    finally:
        path.write_text(whole)
    return Found(test, time.monotonic() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(description="Break one promise after another; each must be noticed.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all when none is given")
    wanted = parser.parse_args().names
    if unknown := {*wanted} - {mutant.name for mutant in MUTANTS}:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    if broken := faults():
        sys.stdout.write("\n".join(broken) + "\n")
        return 1
    chosen = [mutant for mutant in MUTANTS if mutant.name in wanted or not wanted]
    begun, survived = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="au-dist-mutants-") as name:
        copy_to(Path(name))
        if failed := noticed(Path(name), *sorted({test for mutant in chosen for test in mutant.tests})):
            sys.stdout.write(f"nothing is changed yet, and there fails {failed}\n")
            return 1
        for mutant in chosen:
            found = look(Path(name), mutant)
            survived += found.test is None
            sys.stdout.write(f"{mutant.name:48s} {found.seconds:6.1f} s  {found.test or 'SURVIVED'}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutants, {survived} survived, {time.monotonic() - begun:.0f} s\n")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
