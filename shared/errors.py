"""Errors that a user can act on: one or two lines naming the file, the key and the remedy, never a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator


class PapertrailError(Exception):
    """Something the user can mend, or a check that failed; the command line ends with status 1."""


class UsageError(PapertrailError):
    """A name or an option that does not exist; the command line ends with status 2."""


class DataError(PapertrailError):
    """A data set is missing, damaged or not what its specification says."""

    def __init__(self, message: str) -> None:
        # PyTorch makes the error of a loader's worker anew from its traceback, whose end is what was said.
        super().__init__(message.rpartition(f"{__name__}.DataError: ")[2].rstrip())


class NotInstalled(PapertrailError):
    """A library that this machine lacks, and that not everything needs; the message says how to get it."""


def exit_status(work: Callable[[], object]) -> int:
    """Do a command's work: 0, or what is wrong on stderr and 1, 2 on wrong usage.

    A signal that is to end it ends it as a shell tells it, with 130 or 143, when what is half-written is cleared away.
    """
    try:
        with _endable():
            work()
    except PapertrailError as error:
        print(f"papertrail: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:  # `papertrail ledger | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that closing it does not fail again
        return 1
    return 0


@contextlib.contextmanager
def _endable() -> Iterator[None]:
    """SIGINT and SIGTERM raise SystemExit wherever the process is, unless whoever started it has them ignored."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        for one, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(one, lambda number, _: sys.exit(128 + number))
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
