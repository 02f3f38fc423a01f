"""What the commands of `papertrail` share: their common options, and how results are printed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from shared.errors import PapertrailError, UsageError


def _slug(text: str) -> str:
    from shared.files import slug_of

    return slug_of(text)


def _reference(text: str) -> str:
    from shared.files import reference_of

    return reference_of(text)


Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
Slug = Annotated[
    str, typer.Argument(metavar="PAPER", parser=_slug, help="The paper's slug, such as ghostnet, or its folder.")
]
MaybeSlug = Annotated[str | None, typer.Argument(metavar="[PAPER]", parser=_slug)]
Reference = Annotated[str, typer.Argument(metavar="PAPER/CHECKPOINT", parser=_reference)]
PaperOrReference = Annotated[str, typer.Argument(metavar="PAPER[/CHECKPOINT]", parser=_reference)]
MaybeReference = Annotated[str | None, typer.Argument(metavar="[PAPER[/CHECKPOINT]]", parser=_reference)]
Classes = typer.Option(min=1, max=2**31 - 1, help="Number of classes.")
Settings = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="An argument of the model's builder.")]


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    show: Callable[[Any], object] | None = None,
    together: bool = False,
    anywhere: bool = False,
    failed: Callable[[Any], bool] = lambda result: False,
    end: Callable[[list[Any]], object] = lambda found: None,
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """A function as a command with the option `--json`.

    What the function returns is the result. With `--json` it is the one document on stdout, and what the work prints
    on the way goes to stderr; without, `show` prints it (one `key: value` line each, when left out). What a generator
    yields is shown as it comes, or `together` at its end, and is a list in JSON; an error loses nothing that came
    before it. `end` prints what is to be said of all of it. The status is 1 when `failed` says so of a result, or of
    anything that was yielded. Without a checkout only a command that works `anywhere` does.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, as_json: bool, **options: Any) -> None:
            if not anywhere:
                _require_checkout()
            tell: Callable[[Any], object] = show or print_rows
            found, fault = [], None
            with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
                result = function(*args, **options)
                several = isinstance(result, Iterator)
                try:
                    for one in result if several else [result]:
                        found.append(one)
                        if not (as_json or together):
                            tell(one)
                except PapertrailError as error:
                    if not found:
                        raise
                    fault = error
            if as_json:
                print_json(found if several else result)
            elif together:
                tell(found)
            if fault is not None:
                raise fault
            if not as_json:
                end(found)
            if any(failed(one) for one in found):
                raise typer.Exit(1)

        signature = inspect.signature(function, eval_str=True)
        flag = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
        wider = signature.replace(parameters=[*signature.parameters.values(), flag], return_annotation=None)
        run.__signature__ = wider  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in wider.parameters.values()}
        return app.command(name)(run)

    return decorate


def _require_checkout() -> None:
    from shared.files import ROOT, in_checkout

    if not in_checkout():
        raise PapertrailError(f"{ROOT}: code alone, without claims and data; clone the repository, then `make install`")


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
    """The arguments that `--set NAME=VALUE` gives, values as YAML reads them; UsageError names a pair that is none."""
    from shared.plain_yaml import parse_yaml

    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair}: expected NAME=VALUE, such as width=1.3")
        try:
            settings[name] = parse_yaml(value, f"--set {pair}")
        except PapertrailError as error:
            raise UsageError(str(error)) from error
        if not isinstance(settings[name], bool | int | float | str):
            raise UsageError(f"--set {pair}: the value is to be a number, true, false or a word")
    return settings


def shape_of(text: str) -> tuple[int, int, int]:
    """The (C, H, W) of `--input 3,224,224`."""
    sizes = text.split(",")
    if len(sizes) != 3 or not all(re.fullmatch(r" *[1-9][0-9]{0,4} *", size) for size in sizes):
        raise UsageError(f"--input {text}: expected three sizes C,H,W, each from 1 to 99999, such as 3,224,224")
    channels, height, width = map(int, sizes)
    return channels, height, width


def print_json(value: Any) -> None:
    """The one document of `--json`, in ASCII; a dataclass is a mapping, a path its text."""
    print(json.dumps(value, indent=2, default=_jsonable))


def print_rows(row: Mapping[str, Any]) -> None:
    """One `key: value` line each, whole numbers with separators."""
    for key, value in row.items():
        print(f"{key}: {_plain(value)}")


def print_lines(names: Sequence[Any]) -> None:
    """One line each."""
    print("\n".join(map(str, names)))


def _jsonable(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
