"""Each corpus has a verb with what may be said of it, and nothing else."""

import pytest
import typer.main

from au_dist.cli import app
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.options import Options
from au_dist.video.video_spec import VideoSpec

VERBS = typer.main.get_command(app).commands["ingest"].commands


def options_of(corpus):
    return {parameter.name: parameter for parameter in VERBS[corpus].params}


def test_every_corpus_has_a_verb():
    assert set(VERBS) == set(CORPORA)


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_verb_offers_what_its_corpus_looks_at(corpus):
    offered = set(options_of(corpus)) & set(Options.__dataclass_fields__)
    assert offered == set(CORPORA[corpus].options)
    assert ("aus" in options_of(corpus)) == (CORPORA[corpus].labels is not None)


@pytest.mark.parametrize("corpus", CORPORA)
def test_no_option_is_there_twice(corpus):
    """The second would win, without a word."""
    names = [name for parameter in VERBS[corpus].params for name in (*parameter.opts, *parameter.secondary_opts)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_option_is_explained(corpus):
    assert all(parameter.help for parameter in VERBS[corpus].params)


def test_defaults_are_those_of_the_values():
    found = options_of("disfa")
    assert found["threshold"].default == Options().threshold
    assert found["clip_frames"].default == VideoSpec().clip_frames
    assert found["detector"].default is None  # the pictures say
