"""What the commands of `papertrail` share: their common options, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from shared.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
Slug = Annotated[str, typer.Argument(metavar="PAPER", help="The paper's slug, such as ghostnet.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="An argument of the model's builder.")]


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
    """The arguments that `--set NAME=VALUE` gives, values as YAML reads them; UsageError names a pair that is none."""
    import yaml

    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair}: expected NAME=VALUE, such as width=1.3")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            settings[name] = None
        if not isinstance(settings[name], bool | int | float | str):
            raise UsageError(f"--set {pair}: the value is to be a number, true, false or a word")
    return settings


def shape_of(text: str) -> tuple[int, int, int]:
    """The (C, H, W) of `--input 3,224,224`."""
    sizes = text.split(",")
    if len(sizes) != 3 or not all(size.strip().isdigit() and int(size) > 0 for size in sizes):
        raise UsageError(f"--input {text}: expected three sizes C,H,W, such as 3,224,224")
    channels, height, width = map(int, sizes)
    return channels, height, width


def print_json(value: Any) -> None:
    """The one document of `--json`."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_rows(row: Mapping[str, Any]) -> None:
    """One `key: value` line each, whole numbers with separators."""
    for key, value in row.items():
        print(f"{key}: {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
