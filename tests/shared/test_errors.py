from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PapertrailError, exit_status, nearest
from shared.files import ROOT

MANY = [f"digits-arm{number}-0" for number in range(300)]


@pytest.mark.parametrize(
    ("word", "names", "said"),
    [
        ("gostnet", ["adder_detection", "eca_net", "ghostnet"], "did you mean ghostnet?"),
        ("gostnet", ["ghostnet", "hetero_ghostnet", "res2net", *MANY], "did you mean ghostnet?"),
        ("GHOSTNET", ["adder_detection", "ghostnet"], "did you mean ghostnet?"),
        ("vgg16", ["VGG16", "VGG19", "ghost"], "did you mean VGG16 or VGG19?"),
        ("resnet", ["attention_resnet20", "ghost"], "did you mean attention_resnet20?"),
        ("x", ["mini", "small"], "there are mini, small"),
        ("", ["mini", "small"], "there are mini, small"),
        ("x", [], "there is none"),
        ("digits-arm17-9", MANY, "did you mean digits-arm17-0 or digits-arm217-0 or digits-arm197-0?"),
    ],
)
def test_a_name_that_nothing_has_gets_the_nearest(word: str, names: list[str], said: str) -> None:
    assert nearest(word, names) == said


@given(st.text(), st.lists(st.text(min_size=1, max_size=20), max_size=400))
def test_never_more_names_than_a_line_holds(word: str, names: list[str]) -> None:
    assert len(nearest(word, names)) <= 10 * 22 + 40


def test_of_many_names_the_first_are_shown_and_the_rest_counted() -> None:
    assert nearest("???", MANY).startswith("there are digits-arm0-0, ") and nearest("???", MANY).endswith("290 more")


def ended(work: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command of its own that does `work`."""
    program = f"import sys\nfrom shared.errors import exit_status\nsys.exit(exit_status(lambda: {work}))"
    return subprocess.run([sys.executable, "-c", program], text=True, stderr=subprocess.PIPE, cwd=ROOT, **options)


def test_a_character_that_stdout_does_not_know_is_a_question_mark() -> None:
    done = ended("print('≈ 1')", stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "? 1\n", "")


@pytest.mark.parametrize("work", ["print('short')", "print('long' * 100_000)", "sys.exit(print('then exit'))"])
def test_a_stdout_that_takes_nothing_more_is_no_traceback(work: str) -> None:
    with open("/dev/full", "w") as full:
        done = ended(work, stdout=full)
    assert (done.returncode, done.stderr) == (1, "papertrail: No space left on device\n")
    read, write = os.pipe()
    os.close(read)
    done = ended(work, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
    assert ended(work, preexec_fn=lambda: os.close(1)).stderr == "", "there may be none"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b.yaml"), "a/b.yaml: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("cannot identify image"), "cannot identify image"),
        (ModuleNotFoundError("", name="mmdet"), "the module mmdet is missing; `papertrail doctor` says how to get it"),
        (PapertrailError("x: y"), "x: y"),
    ],
)
def test_what_the_machine_refuses_is_one_line(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    assert exit_status(fail) == 1
    assert capsys.readouterr().err == f"papertrail: {said}\n"
