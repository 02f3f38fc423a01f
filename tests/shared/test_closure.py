"""The digest of a closure, on a small repository of its own: what changes it and what does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared import closure
from shared.closure import imported
from shared.files import ROOT

FILES = {
    "requirements.lock": "torch==1.0\n",
    "mmcv.lock": "onedl-mmcv==1.0\n",
    "papers/__init__.py": "",
    "papers/one/__init__.py": "from papers.one.model import width\n",
    "papers/one/model.py": "from shared.near import twice\n\n\ndef width(x):\n    return twice(x) + 1\n",
    "shared/near.py": "def twice(x):\n    from shared.far import factor\n\n    return factor() * x\n",
    "shared/far.py": (
        '"""Far away."""\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from shared import typed\n\n\n'
        'def factor():\n    """Two."""\n    return 2\n'
    ),
    "shared/other.py": "OTHER = 1\n",
    "shared/typed.py": "TYPED = 1\n",
}
# Each is made on top of those before it: the file, its new content, and whether the digest is another one afterwards.
EDITS = {
    "a comment": ("papers/one/model.py", "# Why.\n" + FILES["papers/one/model.py"], False),
    "line ends": ("papers/one/model.py", FILES["papers/one/model.py"].replace("\n", "\r\n"), False),
    "a docstring and a break": (
        "shared/far.py", FILES["shared/far.py"].replace("Two.", "2.").replace("return 2", "return (\n    2)"), False,
    ),
    "a docstring taken away": ("shared/far.py", FILES["shared/far.py"].replace('    """Two."""\n', ""), False),
    "a file that nothing imports": ("shared/other.py", "OTHER = 2\n", False),
    "a file for the type checker": ("shared/typed.py", "TYPED = 2\n", False),
    "an expression": ("papers/one/model.py", FILES["papers/one/model.py"].replace("+ 1", "+ 2"), True),
    "a text that is no docstring": ("shared/near.py", FILES["shared/near.py"] + '\n\nNAME = "near"\n', True),
    "an import in a far module": ("shared/far.py", FILES["shared/far.py"] + "\n\nimport shared.other\n", True),
    "a comment in what it imports": ("shared/other.py", "OTHER = 2  # two\n", False),
    "what it imports": ("shared/other.py", "OTHER = 3\n", True),
    "the lock": ("requirements.lock", "torch==1.1\n", True),
    "the lock's line ends": ("requirements.lock", "torch==1.1\r\n", False),
}  # fmt: skip
PROGRAM = """
import json, pathlib, sys
from shared import closure
print(closure.digest(["papers.one"]))
for file, content in json.loads(sys.argv[1]):
    pathlib.Path(file).write_text(content)
    closure._graph.cache_clear()
    closure._tree.cache_clear()
    print(closure.digest(["papers.one"]))
print(json.dumps(closure.imported(["papers.one"])))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("__init__.py", "closure.py", "errors.py", "files.py", "plain_yaml.py"):
        (tmp_path / "shared").mkdir(exist_ok=True)
        shutil.copy(ROOT / "shared" / name, tmp_path / "shared" / name)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def told(repository: Path, edits: list[tuple[str, str]], hash_seed: str = "0") -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(repository), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PROGRAM, json.dumps(edits)]
    ended = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_only_what_can_change_a_result_changes_the_digest(repository: Path) -> None:
    *digests, files = told(repository, [(file, content) for file, content, _ in EDITS.values()])
    changed = {name: one != two for name, one, two in zip(EDITS, digests[:-1], digests[1:], strict=True)}
    assert changed == {name: changes for name, (_, _, changes) in EDITS.items()}
    assert {"shared/other.py", "shared/near.py", "shared/__init__.py"} < set(json.loads(files))
    assert "shared/typed.py" not in files and "shared/files.py" not in files


def test_code_that_is_no_python_and_a_module_that_is_not_there_are_told_in_a_line(repository: Path) -> None:
    (repository / "papers/two").mkdir()
    for file, start, said in (
        ("model.py", "papers.two", r"two/__init__\.py: no such file"),
        ("__init__.py", "papers.one", r"two/\w+\.py, line 1: no valid Python: x ="),
    ):
        (repository / "papers/two" / file).write_text("x =\n")
        program = f"from shared.closure import imported; imported(['{start}'])"
        environment = os.environ | {"PYTHONPATH": str(repository)}
        ended = subprocess.run([sys.executable, "-c", program], cwd=repository, env=environment, capture_output=True)
        assert re.search(f"PapertrailError: .*papers/{said}\n$", ended.stderr.decode()), ended.stderr


def test_two_processes_and_two_orders_of_sets_give_one_digest(repository: Path) -> None:
    assert told(repository, [], "1") == told(repository, [], "2")


def test_packages_on_the_way_and_imports_inside_functions_count() -> None:
    files = imported(["shared.weights.storage"])
    assert {"shared/__init__.py", "shared/weights/__init__.py", "shared/weights/packing.py"} <= set(files)
    assert all((ROOT / file).is_file() for file in files) and list(files) == sorted(files)


# Functions, classes and type aliases have fields that are younger than Python 3.11, all of them empty here.
SYNTAX = '''
"""A module."""
from . import near


@near.marked(1.5, key=None)
class Point(near.Base):
    x: int = 0

    async def move(self, *by: float, scale=1e-3, **rest) -> None:
        """Docstring."""
        async with self.lock:
            return [f"{one!r:>{self.x}} of {scale=}" for one in by if one not in (None, ..., b"", 2j)]


match near:
    case {"a": [first, *_], **rest}:
        first = lambda x, /, y=-1: x if y else {**rest}
    case _:
        raise
'''


def test_every_version_of_python_gives_one_digest(tmp_path: Path) -> None:
    """The number is Python 3.11's."""
    file = tmp_path / "syntax.py"
    file.write_text(SYNTAX)
    assert closure._tree(file) == "ca24a6d4c85b5792c3afe9f84aca983a73ea876b1d8474328b8849e9f670cb92"
