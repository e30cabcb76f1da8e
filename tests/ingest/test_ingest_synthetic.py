"""Synthetic faces in several processes are those of one."""

import os
import signal
import threading
import time

import pytest

from au_dist.core.errors import IngestError, RecipeError
from au_dist.ingest import synthetic as ingest
from au_dist.shards.format import MANIFEST, read_manifest
from au_dist.storage.store import Store, open_store
from au_dist.synthetic.clips import SynthSpec


def die(*_: object) -> None:
    os._exit(1)


@pytest.mark.slow
def test_the_shards_do_not_depend_on_the_number_of_processes(shards: Store, spec: SynthSpec, tmp_path):
    shown: list[int] = []
    ingest.ingest_synthetic(spec, open_store(tmp_path), show=shown.append, processes=3)
    assert read_manifest(open_store(tmp_path)).sha256 == read_manifest(shards).sha256
    assert shown == list(range(1, read_manifest(shards).clips + 1))


def test_a_killed_process_is_told_and_nothing_is_published(spec: SynthSpec, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "_synth_subject", die)
    with pytest.raises(IngestError, match=r"was killed.*--processes"):
        ingest.ingest_synthetic(spec, open_store(tmp_path), processes=2)
    assert not (tmp_path / MANIFEST).exists()


def test_what_cannot_be_made_is_refused_before_any_process_starts(tmp_path):
    with pytest.raises(RecipeError):
        ingest.ingest_synthetic(SynthSpec(subjects=2, size=0), open_store(tmp_path), processes=2)


def test_ctrl_c_in_the_middle_of_a_start_is_heard_after_it():
    """Also where another thread, which does not block it, is the one that catches the signal."""
    go, started = threading.Event(), []
    # Tests that were started in the background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press() -> None:
        go.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=press)
    other.start()
    try:
        with ingest._deaf():
            go.set()
            other.join()
            time.sleep(0.05)
            started.append(True)
    except KeyboardInterrupt:
        started.append(False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert started == [True, False]
    with ingest._deaf():
        pass
