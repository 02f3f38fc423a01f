"""The command `papertrail`. Everything heavy is imported inside the commands: `--help` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated

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


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from shared.files import git_commit, in_checkout

        print(f"papertrail {version('papertrail')}{f', commit {git_commit()}' if in_checkout() else ''}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version and commit, and exit.")
    ] = False,
) -> None: ...


for part in (evidence, runs, checkpoints, repository):
    app.add_typer(part.app)
