"""Ctrl-C ends every command with one line and exit code 130."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout

import psutil
import pytest
import typer.main
from small_run import write_recipe

from au_dist.cli import app, main
from au_dist.cli.interrupts import WORDS, what_is_kept
from au_dist.storage.store import open_store
from au_dist.train import checkpoint


def verbs(command, path=()):
    for name, one in getattr(command, "commands", {}).items():
        yield from verbs(one, (*path, name)) if getattr(one, "commands", None) else [(*path, name)]


def test_every_command_says_what_is_kept_of_it():
    everyone = list(verbs(typer.main.get_command(app)))
    assert len(everyone) > 20
    for path in everyone:
        name = "ingest" if path[0] == "ingest" else " ".join(path)
        assert what_is_kept([*path, "something", "--out", "x"]) == WORDS[name]
    assert set(WORDS) == {"ingest" if path[0] == "ingest" else " ".join(path) for path in everyone}


def said(text):
    """Lines; older versions of click end the one in which a terminal shows ^C."""
    return [line for line in text.splitlines() if line]


@pytest.fixture
def interrupted():
    """Run a verb in this process and send it SIGINT after a time, from outside of its thread."""
    before = signal.getsignal(signal.SIGINT)

    def run(*arguments, after_s=0.3):
        shown, complained = io.StringIO(), io.StringIO()
        timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(shown), redirect_stderr(complained):
            patch.setattr(sys, "argv", ["au-dist", *map(str, arguments)])
            timer.start()
            with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit) as end:
                main()
        timer.join()
        return end.value.code, complained.getvalue()

    yield run
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line_and_publishes_nothing(interrupted, tmp_path):
    code, text = interrupted("synth", "--out", tmp_path / "set", "--subjects", 200, "--processes", 1, after_s=1.0)
    assert code == 130
    assert said(text) == [f"interrupted: {WORDS['synth']}"]
    assert not (tmp_path / "set/manifest.json").exists()


def test_an_interrupted_piece_of_text_ends_with_the_same_exit_code(tmp_path):
    """Python would end ``-m`` by the signal where text was executed as it came, as in the making of a dataclass."""
    lines = (
        "from au_dist.cli.interrupts import Interrupts",
        "with Interrupts() as interrupts:",
        "    try:",
        "        exec('import signal; signal.raise_signal(signal.SIGINT)')",
        "    except BaseException:",
        "        interrupts.end('so')",
    )
    (tmp_path / "program.py").write_text("\n".join(lines))
    ended = subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "interrupted: so\n")


def pressed(command, cwd, until):
    """Start a command with a group of its own, as a shell does, and press Ctrl-C when a condition holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "au_dist", *map(str, command)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": cwd, "start_new_session": True},
    )
    begun = time.monotonic()
    while not until(process) and process.poll() is None and time.monotonic() - begun < 120:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 130, text
    assert "Traceback" not in text, text
    return said(text)


@pytest.mark.slow
def test_processes_that_make_faces_say_nothing_of_their_own(tmp_path):
    made = tmp_path / "set"
    command = ["synth", "--out", made, "--subjects", 500, "--processes", 2]

    def as_they_start(process):
        return len(psutil.Process(process.pid).children()) > 1

    def at_work(process):
        times = [one.cpu_times().user for one in psutil.Process(process.pid).children()]
        return sum(seconds > 2 for seconds in times) > 1

    for until in (as_they_start, at_work):
        lines = pressed(command, tmp_path, until)
        assert lines == [f"interrupted: {WORDS['synth']}"]


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_says_what_is_kept(own_folder):
    write_recipe(own_folder, optim={"epochs": 400.0})
    run = open_store(own_folder / "runs/run")
    # As it begins nothing of it is stored, and nothing stays.
    lines = pressed(["train", "recipe.yaml"], own_folder, lambda _: run.exists("recipe.yaml"))
    assert lines[-1] == f"interrupted: {WORDS['train']}"
    assert not run.exists("recipe.yaml")
    # What is stored stays, and the same command goes on with it (tests/runs/test_asked_to_stop.py).
    lines = pressed(["train", "recipe.yaml"], own_folder, lambda _: bool(checkpoint.steps(run)))
    assert lines[-1] == f"interrupted: {WORDS['train']}"
    assert checkpoint.newest(run) is not None
