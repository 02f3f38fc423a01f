"""The command `papertrail`. Everything heavy is imported inside the commands: `--help` answers at once."""

from __future__ import annotations

import sys

import typer

from shared.cli import checkpoints, evidence, repository, runs
from shared.errors import exit_status


def main() -> None:
    """Run the command line: status 0, 1 when a check fails or something is wrong, 2 on wrong usage."""
    sys.exit(exit_status(lambda: app(prog_name="papertrail")))


app = typer.Typer(
    help="Efficient-vision papers, replicated number by number, with the evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for part in (evidence, runs, checkpoints, repository):
    app.add_typer(part.app)
