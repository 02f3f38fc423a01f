"""The project's own files: what it needs, what it promises, and how it says to be cited."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pybtex.database import parse_string
from ruamel.yaml import YAML

from shared.checkpoints.cite import cite
from shared.cli import app
from shared.files import ROOT
from shared.paper import papers


def locked() -> dict[str, Requirement]:
    lines = re.findall(r"^([A-Za-z0-9][^ \\#\n]*==[^\\#\n]+?)(?: \\)?$", (ROOT / "requirements.lock").read_text(), re.M)
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(found.name): found for found in requirements}


def test_the_environment_is_the_locked_one() -> None:
    wrong = []
    for name, requirement in locked().items():
        if requirement.marker is None or requirement.marker.evaluate():
            installed = importlib.metadata.version(name)
            if not requirement.specifier.contains(installed, prereleases=True):
                wrong.append(f"{name} {installed}, locked {requirement.specifier}")
    assert wrong == []


def test_every_requirement_is_locked_and_hashed() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert text.count("--hash=sha256:") > len(locked()) > 100
    apart = (ROOT / "mmcv.lock").read_text()  # compiled against the torch that is there
    assert apart.count("==") == 1 and "--hash=sha256:" in apart
    compiled = canonicalize_name(apart.partition("==")[0])
    for declared in importlib.metadata.requires("papertrail") or []:
        assert canonicalize_name(Requirement(declared).name) in {*locked(), compiled, "papertrail"}, declared


def test_lightning_is_not_a_malicious_release() -> None:
    assert locked()["pytorch-lightning"].specifier.contains("2.6.6")
    assert not {"torchvision", "mmdet", "mmcv"} & locked().keys()


@pytest.mark.parametrize(
    "module", ["shared.training.run", "shared.checkpoints.pin", "shared.ledger.judge", "papers.ghostnet"]
)
def test_the_core_needs_neither_detection_nor_notebooks_nor_dvc(module: str) -> None:
    heavy = "('mmdet', 'mmcv', 'IPython', 'jupyter_core', 'nbclient', 'dvc', 'pyarrow', 'kornia', 'timm', 'grimp')"
    program = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("papers/gostnet", "no paper `gostnet`; did you mean ghostnet?"),
        ("papers/gostnet/", "no paper `gostnet`; did you mean ghostnet?"),
        ("papers/qq", f"no paper `qq`; there are {', '.join(papers()[:10])} and {len(papers()) - 10} more"),
        ("papers/ghostnet", "dvc repro papers/ghostnet\n"),
        ("papers/ghostnet/", "dvc repro papers/ghostnet\n"),
    ],
)
def test_make_knows_the_papers_before_it_installs_anything(goal: str, said: str) -> None:
    # What `make test` hands down would make this one tell of its folder.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    told = subprocess.run(["make", "--dry-run", goal], cwd=ROOT, capture_output=True, text=True, env=env)
    assert said in told.stdout + told.stderr
    if "no paper" in said:
        assert (told.returncode, told.stdout) == (2, "")


def test_the_import_contracts_hold() -> None:
    ended = subprocess.run(["lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_the_citation_file_has_what_its_schema_requires() -> None:
    """The rules of Citation File Format 1.2.0 for the keys that this file uses."""
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    people = {"family-names", "given-names", "orcid", "affiliation", "email"}
    entities = {"name", "website", "email", "orcid"}
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() <= {
        "cff-version", "message", "title", "type", "authors", "version", "date-released", "license", "keywords",
        "references", "abstract", "repository-code", "url",
    }  # fmt: skip
    assert citation["cff-version"] == "1.2.0" and citation["type"] in ("software", "dataset")
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", citation["date-released"])
    assert citation["version"] == importlib.metadata.version("papertrail")
    for work in [citation, *citation["references"]]:
        assert work["authors"] and all(
            author.keys() <= people or author.keys() <= entities for author in work["authors"]
        )
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
    titles = {reference["title"] for reference in citation["references"]}
    cited = [parse_string(cite(slug), "bibtex").entries for slug in papers()]
    assert titles == {entry.fields["title"].strip("{}") for entries in cited for entry in entries.values()}


def test_the_commands_of_every_readme_exist() -> None:
    """A line of a code block is a command with options of its own; a module that is to be run can be found."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    seen = set()
    for readme in sorted(ROOT.glob("**/README.md")):
        if ".venv" in readme.parts:
            continue
        for line in (
            one
            for block in re.findall(r"^```\n(.*?)^```", readme.read_text(), re.M | re.S)
            for one in block.splitlines()
        ):
            words = line.partition("#")[0].split()
            if words[:1] == ["papertrail"] and words[1:2] != ["--help"]:
                options = {name for parameter in commands[words[1]].params for name in parameter.opts}
                assert {word for word in words if word.startswith("--")} <= options, f"{readme}: {line}"
                seen.add(words[1])
            if words[:2] == ["python", "-m"]:
                assert importlib.util.find_spec(words[2]), f"{readme}: {line}"
                seen.add(words[2])
    assert {"train", "prune", "evaluate", "bench"} <= seen


def test_a_checkout_has_the_very_bytes_whatever_git_makes_of_line_ends(tmp_path: Path) -> None:
    git = ["git", "clone", "--quiet", "--no-tags", "-c", "core.autocrlf=true", ROOT, tmp_path / "clone"]
    subprocess.run(git, check=True, capture_output=True)
    ends = subprocess.run(["git", "ls-files", "--eol"], cwd=tmp_path / "clone", capture_output=True, check=True).stdout
    forms = [line.split()[:2] for line in ends.decode().splitlines()]  # "i/lf w/lf": in the index and in the work tree
    assert forms and all(kept.removeprefix("i/") == found.removeprefix("w/") for kept, found in forms)


def test_every_text_file_keeps_to_the_project() -> None:
    """No path of somebody's machine in any file that git keeps."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".ipynb", ".json", ".cff", "") and path.exists():
            text = path.read_bytes().decode("utf-8", errors="ignore")
            assert not re.search(r"/(?:work|root|home)/[a-z]+/", text), name
