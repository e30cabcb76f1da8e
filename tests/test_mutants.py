"""The list of mutants can still be made: what it breaks is there, once."""

from pathlib import Path

from mutants import MUTANTS, ROOT, copy_to, faults


def test_every_mutant_can_be_made():
    assert faults() == []
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mutant_is_another_program_and_still_one():
    for mutant in MUTANTS:
        changed = (ROOT / mutant.path).read_text().replace(mutant.before, mutant.after)
        assert mutant.after != mutant.before
        compile(changed, mutant.path, "exec")


def test_the_copy_that_is_changed_is_the_whole_program(tmp_path: Path):
    copy_to(tmp_path)
    for mutant in MUTANTS:
        assert (tmp_path / mutant.path).read_text() == (ROOT / mutant.path).read_text()
    for name in ("cluster", "tuning"):
        assert (tmp_path / "au_dist" / name).resolve() == tmp_path / name
