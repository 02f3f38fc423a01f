"""`papertrail new SLUG`: a paper's folder from the template, marked where it must be filled in."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ruamel.yaml import YAML

from shared.errors import UsageError
from shared.files import ROOT, atomic_write, write_text

TEMPLATE = Path(__file__).parent / "template"
PLACEHOLDER = re.compile(r"<<[^<>]+>>")


def new(slug: str) -> list[Path]:
    """Write papers/<slug>/ and its stage in the root dvc.yaml.

    Returns:
        The files written.

    Raises:
        UsageError: the slug is no Python name, or the paper exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", slug):
        raise UsageError(f"`{slug}` cannot name a Python package: small letters, digits and single underscores")
    folder = ROOT / "papers" / slug
    if folder.exists():
        raise UsageError(f"{folder}: exists already; choose another slug")
    draft = folder.with_name(f".{slug}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for source in sorted(TEMPLATE.glob("*.txt")):
        write_text(draft / source.stem, source.read_text(encoding="utf-8").replace("@SLUG@", slug))
    (draft / "checkpoints").mkdir()
    write_text(draft / "checkpoints" / ".gitkeep", "")
    draft.rename(folder)  # the folder appears whole or not at all
    _add_stage(slug)
    return [*sorted(path for path in folder.rglob("*") if path.is_file()), ROOT / "dvc.yaml"]


def placeholders(slug: str) -> list[str]:
    """What is still to be filled in, as "<file>: <<...>>"."""
    found = []
    for path in sorted((ROOT / "papers" / slug).rglob("*")):
        if path.suffix in (".py", ".yaml", ".md"):
            marks = PLACEHOLDER.findall(path.read_text(encoding="utf-8"))
            found += [f"{path.relative_to(ROOT)}: {mark}" for mark in marks]
    return found


def _add_stage(slug: str) -> None:
    path = ROOT / "dvc.yaml"
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(path.read_text(encoding="utf-8"))
    files = ("checkpoints", "claims.yaml", "paper.yaml", "params.yaml", "runs/mini/baseline/metrics.json")
    content["stages"][f"papers/{slug}"] = {
        "cmd": f"python -m shared.ledger papers/{slug}",
        "deps": [f"notebooks/{slug}.ipynb", *(f"papers/{slug}/{file}" for file in files)],
        "outs": [{f"papers/{slug}/verdicts.json": {"cache": False}}],
    }
    with atomic_write(path) as stream:
        yaml.dump(content, stream)
