from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import papers
from shared import code
from shared.builders import build, models
from shared.code import code_of
from shared.errors import NotInstalled, PapertrailError, UsageError

Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes the package of a paper `tiny`."""
    folder = tmp_path / "papers/tiny"
    folder.mkdir(parents=True)
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(folder.parent)])
    monkeypatch.setattr(code, "ROOT", tmp_path)
    yield lambda text: (folder / "__init__.py").write_text(text) and None
    for name in [name for name in sys.modules if name.startswith("papers.tiny")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\nfrom papers.class.model import x\n", r"tiny/__init__\.py, line 3: SyntaxError: invalid syntax"),
        (
            "x = 1\nfrom shared.layers.nosuch import x\n",
            r"line 2: ModuleNotFoundError: No module named 'shared\.layers\.n",
        ),
        ("import papers.tiny.nosuch\n", r"line 1: ModuleNotFoundError: No module named 'papers\.tiny\.nosuch'"),
        ("from torch import nosuch\n", r"line 1: ImportError: cannot import name 'nosuch'"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", r"line 2: ZeroDivisionError: division by zero"),
        ("raise ValueError('one\\ntwo')\n", r"line 1: ValueError: one$"),
    ],
)
def test_code_that_cannot_be_imported_is_told_in_a_line(write: Write, text: str, message: str) -> None:
    write(text)
    with pytest.raises(PapertrailError, match=message):
        code_of("tiny")


def test_a_library_that_is_missing_is_no_fault_of_the_paper(write: Write) -> None:
    write("import nosuchlibrary\n")
    with pytest.raises(NotInstalled, match="papers/tiny: No module named 'nosuchlibrary'; `papertrail doctor` says"):
        code_of("tiny")


def test_a_module_that_is_not_there_is_none() -> None:
    assert code_of("nosuch") is None and code_of("ghostnet", "nosuch") is None
    assert code_of("ghostnet", "upstream") is not None


def test_a_package_without_models_is_named(write: Write) -> None:
    write("")
    with pytest.raises(PapertrailError, match="papers/tiny: its code states no MODELS"):
        models("tiny")


BUILDERS = """
from typing import Literal
from torch import nn

def network(width: float = 1.0, depth: int = 3, wide: bool = False, kind: Literal["a", "b"] = "a", name: str = "x",
            widths: tuple[int, ...] = (), fails: int = 0, classes: int = 10):
    assert not fails, "it fails\\nin pages"
    return nn.Linear(1, classes)

MODELS, DEFAULTS = {"network": network}, {}
"""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": "wide"}, "`network`: `width` is to be a number, not 'wide'"),
        ({"width": True}, "`width` is to be a number, not True"),
        ({"wide": 1}, "`wide` is to be true or false, not 1"),
        ({"kind": "c"}, "`kind` is to be one of a, b, not 'c'"),
        ({"widht": 1}, r"`network` takes no `widht`; did you mean width"),
    ],
)
def test_a_setting_is_to_be_what_the_builder_states(write: Write, settings: dict[str, object], message: str) -> None:
    write(BUILDERS)
    with pytest.raises(UsageError, match=message):
        build("tiny", "network", settings, classes=10)
