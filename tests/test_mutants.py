"""The list of mutants can still be made: what it breaks is there, once."""

from mutants import MUTANTS, ROOT, faults


def test_every_mutant_can_be_made():
    assert faults() == []
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mutant_is_another_program_and_still_one():
    for mutant in MUTANTS:
        changed = (ROOT / mutant.path).read_text().replace(mutant.before, mutant.after)
        assert mutant.after != mutant.before
        compile(changed, mutant.path, "exec")
