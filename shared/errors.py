"""Errors that a user can act on: one or two lines naming the file, the key and the remedy, never a traceback."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator

MUCH = 0.2  # of likeness, which is 1 for the same word
MOST_NAMES = 10  # on one line


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


def nearest(word: str, names: Iterable[str]) -> str:
    """What an error says after "no such name": the names that `word` may have meant, or those that there are.

    "did you mean mini or micro?", "there are mini, small", "there are a, b, c and 268 more", "there is none". Case
    counts for nothing.
    """
    known = {name.casefold(): name for name in names}
    wanted, more = word.casefold(), len(known) - MOST_NAMES
    likeness = 0.7 if more <= 0 else 0.5  # where all can be shown, one that is hardly like it says less
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=likeness)
    if near:  # beside one that is much more like it, the others say less
        likeness = difflib.SequenceMatcher(None, near[0], wanted).ratio() - MUCH
        near = difflib.get_close_matches(wanted, near, n=3, cutoff=likeness)
    near = near or [name for name in known if wanted and wanted in name][:3]
    if near:
        return f"did you mean {' or '.join(known[name] for name in near)}?"
    shown = ", ".join(list(known.values())[:MOST_NAMES])
    return f"there are {shown}{f' and {more} more' if more > 0 else ''}" if known else "there is none"


def exit_status(work: Callable[[], object]) -> int:
    """Do a command's work: 0, or what is wrong on stderr and 1, 2 on wrong usage.

    A signal that is to end it ends it as a shell tells it, with 130 or 143, when what is half-written is cleared away.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where there is no "≈" a "?" stands for it
    try:
        with _endable():
            try:
                work()
            finally:
                print(end="", flush=True)  # what cannot be written is to be known here
    except PapertrailError as error:
        return _told(error, 2 if isinstance(error, UsageError) else 1)
    except ModuleNotFoundError as error:
        return _told(f"the module {error.name} is missing; `papertrail doctor` says how to get it")
    except OSError as error:
        _drop_unwritten()
        if isinstance(error, BrokenPipeError):  # `papertrail ledger | head` has read enough
            return 1
        return _told(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    return 0


def _told(fault: object, status: int = 1) -> int:
    print(f"papertrail: {fault}", file=sys.stderr)
    return status


def _drop_unwritten() -> None:
    """Closing a stdout that takes nothing more is not to fail again."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
