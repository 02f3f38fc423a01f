"""DVC's pipelines, written whole from what is stated elsewhere: params.yaml, paper.yaml, the sets, the imports.

A change to one file is to rerun the stages that use it, and no others. DVC follows no imports, so a stage's `deps:` are
the files that the import graph finds: those that a run's digest is made of. Every arm of every protocol has its stages;
those of `mini` alone stand before the main job.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from shared import datasets
from shared.closure import imported
from shared.errors import PapertrailError
from shared.files import LOCKS, ROOT, read_text, read_yaml, write_text
from shared.paper import load_paper, papers
from shared.training.plan import Action, reads, starts
from shared.training.protocol import EMBEDDED, Protocol, load_protocols
from shared.training.tasks import TASKS, task_of
from shared.weights.card import Card
from shared.weights.records import identity

Kind = Literal["train", "prune", "continue", "evaluate"]
# Git has it, and DVC is not to take it away before a stage that may fail.
IN_GIT = {"cache": False, "persist": True}
HEAD = "# Written by `papertrail sync`; changes made here are lost.\n"
ROOT_HEAD = HEAD + "# `dvc repro papers/<slug>` is a paper's main job: its runs of `mini`, notebook and verdicts.\n"
PAPER_HEAD = HEAD + "# One protocol's runs, in order: `dvc repro papers/{slug}/dvc.yaml:evaluate-<protocol>`.\n"


def sync(*, paper: str | None = None, check: bool = False) -> list[str]:
    """Write every dvc.yaml of the repository, or of a paper alone, that is not what it should be.

    With `check` nothing is written.

    Returns:
        The files that were stale, relative to the root.

    Raises:
        PapertrailError: a paper or a data set is broken. Its own dvc.yaml is left as it is, and so is its main job; the
            others are written first.
    """
    wanted, faults = {"dvc.yaml": ""}, []
    jobs: dict[str, Any] = {}
    others = []
    for slug in papers():
        if paper in (None, slug):
            try:
                text, job = _text(PAPER_HEAD.format(slug=slug), _pipeline(slug)), _main_job(slug)
                wanted[f"papers/{slug}/dvc.yaml"] = text
                jobs |= job
                continue
            except PapertrailError as error:
                faults.append(str(error))
        others.append(slug)
    jobs |= _main_jobs_found(others)
    wanted["dvc.yaml"] = _text(ROOT_HEAD, {"stages": dict(sorted(jobs.items()))})
    for name in datasets.names() if paper is None else ():
        try:
            wanted[f"data/{name}/dvc.yaml"] = _text(HEAD, {"stages": {"data": _data(name)}})
        except PapertrailError as error:
            faults.append(str(error))
    stale = [name for name, text in wanted.items() if _found(ROOT / name) != text]
    if not check:
        for name in stale:
            write_text(ROOT / name, wanted[name])
    if faults:
        raise PapertrailError("\n".join(faults))
    return stale


def _found(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def _main_jobs_found(slugs: list[str]) -> dict[str, Any]:
    """The main jobs of papers as the root's dvc.yaml has them."""
    path = ROOT / "dvc.yaml"
    stages = read_yaml(path)["stages"] if slugs and path.exists() else {}
    return {name: stages[name] for name in map("papers/{}".format, slugs) if name in stages}


def _main_job(slug: str) -> dict[str, Any]:
    folder = f"papers/{slug}"
    return {
        folder: {
            "cmd": f"python -m shared.ledger {folder}",
            "deps": [*_code(slug, "shared.ledger.__main__"), f"notebooks/{slug}.ipynb", *_evidence(slug)],
            "outs": [{f"{folder}/verdicts.json": dict(IN_GIT)}],
        }
    }


def _pipeline(slug: str) -> dict[str, Any]:
    """The stages of a paper, and the checkpoints that it keeps as artifacts that `dvc artifacts get` finds."""
    folder = f"papers/{slug}"
    stages: dict[str, Any] = {}
    for name, protocol in load_protocols(ROOT / folder / "params.yaml").items():
        stages |= dict(_runs(slug, name, protocol))
    stages["notebook"] = {
        "wdir": "../..",
        "cmd": f"python -m shared.notebook {folder}",
        "deps": [*_code(slug, "shared.notebook", f"papers.{slug}.figures"), *_evidence(slug)],
        "outs": [{name: dict(IN_GIT)} for name in (f"notebooks/{slug}.ipynb", *_pictures(slug))],
    }
    kept = {name: {"path": f"checkpoints/{name}.safetensors", "type": "model"} for name in load_paper(slug).keep}
    return {"stages": stages} | ({"artifacts": kept} if kept else {})


def _runs(slug: str, name: str, protocol: Protocol) -> Iterator[tuple[str, dict[str, Any]]]:
    """The stages of a protocol: arms that a builder begins, that prune, that go on; and the measuring of them all."""
    groups: dict[Kind, list[str]] = {"train": [], "prune": [], "continue": [], "evaluate": list(protocol.arms)}
    for arm, stated in protocol.arms.items():
        groups["prune" if stated.prune else "continue" if stated.continues else "train"].append(arm)
    for kind, arms in groups.items():
        if arms:
            each = {arm: _item(slug, name, protocol, arm) for arm in arms}
            yield f"{kind}-{name}", {"foreach": each, "do": _stage(slug, protocol, arms, kind)}


def _item(slug: str, name: str, protocol: Protocol, arm: str) -> dict[str, str]:
    """What of an arm's stages differs from those of other arms."""
    stated, item = protocol.arms[arm], {"protocol": name, "data": protocol.data}
    if stated.continues:
        of = f"papers/{slug}/runs/{name}/{stated.of}/seeds"
        item["start"] = of if stated.begin is None else f"papers/{stated.begin.partition('/')[0]}/upstream.json"
    return item


def _stage(slug: str, protocol: Protocol, arms: list[str], kind: Kind) -> dict[str, Any]:
    """What the stages of these arms share; equal bodies are written once in a file."""
    folder, run = f"papers/{slug}", f"papers/{slug}/runs/${{item.protocol}}/${{key}}"
    action: Action = "train" if kind == "continue" else kind
    code = imported({start for arm in arms for start in starts(slug, protocol, arm, action)})
    deps = [*code, *LOCKS, "data/${item.data}/set.yaml", "data/${item.data}/verified.json"]
    if kind != "prune":  # a detector's builder reads its backbone also where it is measured
        deps += sorted({file for arm in arms for file in _weights(protocol, arm)})
    if kind in ("prune", "continue"):
        deps.append("${item.start}")
    if kind == "evaluate":
        deps.append(f"{run}/seeds")
    keys = [key for key in ("data", "seed", "repeats", "trainer") if key in protocol.model_fields_set]
    params = [*(f"${{item.protocol}}.{key}" for key in keys), "${item.protocol}.arms.${key}"]
    if kind in ("train", "continue"):
        params.append("${item.protocol}.recipe")
    stage: dict[str, Any] = {
        "wdir": "../..",
        "cmd": f"python -m shared.training {action} {folder} ${{item.protocol}} ${{key}}",
        "deps": deps,
        "params": [{f"{folder}/params.yaml": params}],
    }
    if kind == "evaluate":
        kept = [f"{run}/{name}" for name in ("evaluated", *task_of(protocol.recipe).keeps)]
        return stage | {"outs": kept, "metrics": [{f"{run}/metrics.json": {"cache": False}}]}
    # Kept when the stage starts again, so that an interrupted run goes on; a run of another plan is replaced.
    stage["outs"] = [{f"{run}/seeds": {"persist": True}}]
    if kind != "prune":
        column, _ = task_of(protocol.recipe).curve
        stage["plots"] = [{f"{run}/curves.csv": {"cache": False, "x": "epoch", "y": column}}]
    return stage


def _data(name: str) -> dict[str, Any]:
    return {
        "wdir": "../..",
        "cmd": f"python -m shared.datasets {name}",
        "deps": [*imported(["shared.datasets.__main__", datasets.module(name)]), f"data/{name}/set.yaml"],
        "outs": [{f"data/{name}/verified.json": {"cache": False}}],
    }


def _evidence(slug: str) -> list[str]:
    """What the judge and the notebook read besides code; of another paper, the weights that training reads."""
    protocols = load_protocols(ROOT / "papers" / slug / "params.yaml").values()
    refs = {ref for protocol in protocols for arm in protocol.arms for ref in reads(protocol, arm)}
    others = sorted({ref.partition("/")[0] for ref in refs} - {slug})
    names = ("checkpoints", "claims.yaml", "paper.yaml", "params.yaml", "records", f"runs/{EMBEDDED}")
    return [
        *(f"papers/{slug}/{name}" for name in names),
        *(f"papers/{other}/{name}" for other in others for name in ("checkpoints", "records")),
        *sorted({f"data/{protocol.data}/set.yaml" for protocol in protocols}),
        *LOCKS,
    ]


def _pictures(slug: str) -> list[str]:
    """The pictures that figures.py writes for the pages, by the names that stand in it."""
    source = read_text(ROOT / "papers" / slug / "figures.py")
    return [f"papers/{slug}/{name}" for name in sorted(set(re.findall(r'"([\w.-]+\.png)"', source)))]


def _code(slug: str, *starts: str) -> list[str]:
    """The files that judging a paper or drawing its figures runs: what these modules import, and what is found by name.

    Of a task they read what it is called by; how it trains is no matter of theirs.
    """
    protocols = load_protocols(ROOT / "papers" / slug / "params.yaml").values()
    detectors = ROOT / "papers" / slug / "detectors.py"
    named = {f"papers.{slug}", *(type(protocol.recipe).__module__ for protocol in protocols)}
    named |= {f"papers.{slug}.detectors"} if detectors.exists() else set()
    tasks = {f"{TASKS[protocol.recipe.task].replace('.', '/')}.py" for protocol in protocols}
    return sorted({*imported([*starts, *named]), *tasks})


def _weights(protocol: Protocol, arm: str) -> Iterator[str]:
    """Of the pinned weights that training an arm reads the card, which has their hash; or, not kept, the run itself."""
    for known in map(identity, reads(protocol, arm)):
        kept = f"checkpoints/{known.name}.json" if isinstance(known, Card) else None
        yield f"papers/{known.paper}/{kept or f'runs/{known.protocol}/{known.arm}/seeds'}"


def _text(head: str, content: dict[str, Any]) -> str:
    """YAML in which an equal `foreach:` or `do:` is written once, and referred to from then on."""
    seen: list[tuple[dict[str, Any], CommentedMap]] = []
    stages = {name: dict(stage) for name, stage in content["stages"].items()}
    for name, stage in stages.items():
        for key in stage.keys() & {"foreach", "do"}:
            known = next((written for plain, written in seen if plain == stage[key]), None)
            if known is None:
                known = CommentedMap(stage[key])
                known.yaml_set_anchor(f"{name}-{'arms' if key == 'foreach' else 'stage'}")
                seen.append((stage[key], known))
            stage[key] = known
        for arm, item in stage.get("foreach", {}).items():
            stage["foreach"][arm] = line = CommentedMap(item)
            line.fa.set_flow_style()
    yaml = YAML()
    yaml.width = 4096  # one line for each arm
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(content | {"stages": stages}, stream)
    return head + stream.getvalue()
