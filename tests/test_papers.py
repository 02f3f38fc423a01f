"""The contract of a paper's folder, for every paper that there is."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jupytext
import nbformat
import pytest
import torch
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from shared import datasets
from shared.builders import build, find_model, models
from shared.checkpoints.history import commits
from shared.checkpoints.records import broken, unlike
from shared.code import code_of
from shared.compression.continued import untrained
from shared.files import ROOT, read_json, read_yaml
from shared.ledger import VERDICTS
from shared.ledger.judge import judge
from shared.ledger.render import stale
from shared.ledger.verdicts import changed
from shared.notebook import source
from shared.paper import load_paper, papers
from shared.scaffold import placeholders
from shared.sync import sync
from shared.training.protocol import Protocol, load_protocol, load_protocols
from shared.training.run import run_of
from shared.weights.card import cards
from shared.weights.published import Published
from shared.weights.records import protocols_recorded, read_records

FILES = (
    "README.md", "__init__.py", "checkpoints", "claims.yaml", "dvc.yaml", "figures.py", "ledger.md", "paper.yaml",
    "params.yaml",
)  # fmt: skip
NARROW = 0.25  # of the width, where it is a factor: two steps show whether a recipe runs, not what it costs
every_paper = pytest.mark.parametrize("slug", papers())


def distinct_recipes() -> list[tuple[str, str, str]]:
    """One arm for each recipe that differs, or that follows another way of pruning."""
    found: dict[str, tuple[str, str, str]] = {}
    for slug in papers():
        for name, protocol in load_protocols(ROOT / "papers" / slug / "params.yaml").items():
            for arm, stated in protocol.arms.items():
                if stated.prune is None:
                    chain = [protocol.arms[one].prune for one in protocol.lineage(arm)]
                    rules = sorted({(prune.by, prune.shapes) for prune in chain if prune is not None})
                    found.setdefault(repr((rules, protocol.recipe_of(arm).model_dump())), (slug, name, arm))
    return list(found.values())


def folder(slug: str) -> Path:
    return ROOT / "papers" / slug


def test_every_folder_is_a_paper() -> None:
    folders = [path.name for path in (ROOT / "papers").iterdir() if path.is_dir() and path.name[0] not in "._"]
    assert sorted(folders) == papers() and papers()


@every_paper
def test_every_file_of_the_contract_is_there_and_filled_in(slug: str) -> None:
    assert [name for name in FILES if not (folder(slug) / name).exists()] == []
    assert any((folder(slug) / name).exists() for name in ("model.py", "method.py"))
    assert placeholders(slug) == []
    assert load_paper(slug).slug == slug


@every_paper
def test_every_model_builds_and_has_defaults(slug: str) -> None:
    package = importlib.import_module(f"papers.{slug}")
    assert package.DEFAULTS.keys() == package.MODELS.keys()
    for name, known in models(slug).items():
        with torch.device("meta"):
            found = build(slug, name, {}, known.classes).eval()(torch.empty(1, *known.input)).shape
        assert found == (1, known.classes) if name in package.MODELS else found[0] == 1


@every_paper
@pytest.mark.parametrize(("table", "key"), [("METHODS", "name"), ("PRUNERS", "by")])
def test_methods_and_rules_of_pruning_are_found_under_their_own_names(slug: str, table: str, key: str) -> None:
    for name, made in getattr(importlib.import_module(f"papers.{slug}"), table, {}).items():
        assert name in get_args(get_type_hints(made)[key])


@every_paper
def test_every_claim_has_a_verdict_and_what_is_not_exact_has_a_reason(slug: str) -> None:
    for entry in judge(slug):
        assert entry.verdict in VERDICTS
        assert entry.verdict in ("exact", "within", "consistent") or entry.reason, entry.id


@every_paper
def test_generated_text_is_fresh(slug: str) -> None:
    assert stale(slug) == [], f"run `python -m shared.ledger papers/{slug}`"


@every_paper
def test_the_verdicts_are_those_of_what_is_here(slug: str) -> None:
    """A machine without mmcv reads them, and judges nothing anew."""
    assert changed(slug) == [], f"run `dvc repro --single-item papers/{slug}`"


def test_the_deps_of_every_stage_equal_the_imports() -> None:
    assert sync(check=True) == [], "run `papertrail sync`"


@every_paper
def test_dvc_sets_a_parameter_and_leaves_the_rest_of_params_yaml_alone(slug: str, tmp_path: Path) -> None:
    """Its writer wraps at 80 columns, knows no `[a, b]` in a block, and what an anchor names would change elsewhere."""
    text = (folder(slug) / "params.yaml").read_text(encoding="utf-8")
    copy = tmp_path / "params.yaml"
    copy.write_text(text, encoding="utf-8")
    apply_overrides(copy, ["mini.seed=100"])
    assert copy.read_text(encoding="utf-8").splitlines() == text.replace("seed: 0\n", "seed: 100\n", 1).splitlines()
    assert [line for line in text.splitlines() if re.search(r"(: |- |<<: )[&*]\w|<<:", line)] == []


@every_paper
def test_an_edit_of_mini_changes_its_own_lines_and_no_other_protocol(slug: str, tmp_path: Path) -> None:
    stated = folder(slug) / "params.yaml"
    copy = tmp_path / slug / "params.yaml"
    copy.parent.mkdir()
    copy.write_bytes(stated.read_bytes())
    edited = list(edits(read_yaml(stated)["mini"], "mini"))
    apply_overrides(copy, edited)
    old, new = (path.read_text(encoding="utf-8").splitlines() for path in (stated, copy))
    different = [number for number, pair in enumerate(zip(old, new, strict=True)) if len({*pair}) > 1]
    start = old.index("mini:")
    assert start < min(different) and max(different) < [*old, ""].index("", start) and len(edited) > 10
    for name in read_yaml(stated).keys() - {"mini"}:
        assert load_protocol(copy, name) == load_protocol(stated, name)


def edits(value: Any, key: str) -> Iterator[str]:
    """Of every number below a key that `dvc exp run -S` can name, the words that make another of it."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from () if "." in name else edits(one, f"{key}.{name}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield f"{key}={value * 10 + 7 if isinstance(value, int) else 0.123}"


def test_the_seed_of_the_readme_is_none_that_is_pinned_or_stated() -> None:
    (first,) = re.findall(r"mini\.seed=(\d+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    for slug in papers():
        protocols = load_protocols(folder(slug) / "params.yaml")
        records = [read_records(slug, name) for name in protocols_recorded(slug)]
        pinned = {int(seed) for one in records if one for arm in one.arms.values() for seed in arm.seeds}
        others = pinned.union(*(protocol.seeds for protocol in protocols.values()))
        assert others.isdisjoint(range(int(first), int(first) + protocols["mini"].repeats))


@every_paper
def test_every_pinned_checkpoint_is_declared_under_its_name(slug: str) -> None:
    declared = YAML(typ="safe").load((folder(slug) / "dvc.yaml").read_text()).get("artifacts") or {}
    pinned = {card.name: {"path": f"checkpoints/{card.name}.safetensors", "type": "model"} for card in cards(slug)}
    assert {name: {key: entry[key] for key in ("path", "type")} for name, entry in declared.items()} == pinned


@every_paper
def test_the_notebook_is_the_executed_source_without_errors(slug: str) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{slug}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in source(slug).cells]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.execution_count for cell in code)
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)


@every_paper
def test_every_exhibit_that_is_made_has_its_section_in_the_papers_order(slug: str) -> None:
    cells = jupytext.read(folder(slug) / "figures.py").cells
    heads = [
        line for cell in cells if cell.cell_type == "markdown" for line in re.findall(r"^## (.+)", cell.source, re.M)
    ]
    sections = [head.partition(":")[0] for head in heads if head.startswith(("Table", "Figure"))]
    assert sections == [one.name for one in load_paper(slug).exhibits if one.made != "no"]
    assert heads[-1] == "What we learned"


@every_paper
def test_every_claim_of_a_table_or_figure_belongs_to_an_exhibit(slug: str) -> None:
    exhibits = load_paper(slug).exhibits
    places = {place for entry in judge(slug) for place in entry.places if place.startswith(("Table", "Figure"))}
    assert [place for place in places if sum(one.holds(place) for one in exhibits) != 1] == []


@every_paper
def test_no_bullet_of_the_notebook_is_long(slug: str) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{slug}.ipynb", as_version=4)
    shown = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    shown += [output.data.get("text/markdown", "") for cell in notebook.cells if cell.cell_type == "code"
              for output in cell.outputs if output.output_type == "display_data"]  # fmt: skip
    bullets = [line for text in shown for line in text.splitlines() if re.match(r"- |\d+\. ", line)]
    assert [line for line in bullets if len(line) > 310] == []


@every_paper
def test_the_verdict_sentence_was_written_for_the_verdicts_of_today(slug: str) -> None:
    found = {entry.id: entry.verdict for entry in judge(slug)}
    main = load_paper(slug).main
    assert {identity: found[identity] for identity in main} == main, "read the sentence again, and write it anew"


@every_paper
def test_the_page_is_one_page_and_its_code_runs(slug: str) -> None:
    page = (folder(slug) / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    assert len(page.splitlines()) < 110 and len(code.splitlines()) <= 8
    exec(compile(code, f"papers/{slug}/README.md", "exec"), {})


@every_paper
def test_the_notebook_reads_and_never_trains(slug: str) -> None:
    code = jupytext.read(folder(slug) / "figures.py").cells
    text = "\n".join(cell.source for cell in code if cell.cell_type == "code")
    assert not re.search(r"shared\.training\.run|pytorch_lightning|\.backward\(|optim\.", text)


@every_paper
def test_every_arm_begins_with_a_network_that_builds(slug: str) -> None:
    origins = {
        (origin.builder, tuple(origin.args.items()), datasets.spec(protocol.data).shape[0])
        for protocol in load_protocols(folder(slug) / "params.yaml").values()
        for origin in map(protocol.origin, protocol.arms)
        if origin.builder in importlib.import_module(f"papers.{slug}").MODELS
    }
    for builder, args, channels in origins:
        with torch.device("meta"):
            build(slug, builder, dict(args), 10, channels)


def narrowed(slug: str, protocol: Protocol, arm: str) -> Protocol:
    """The protocol with the first network of the arm's chain at a small width, and with weights of no other run."""
    first = protocol.lineage(arm)[0]
    origin = protocol.arms[first]
    args = {name: value for name, value in origin.args.items() if name != "checkpoint"}
    width = inspect.signature(find_model(slug, origin.builder).build).parameters.get("width")
    if width is not None and width.default == 1:
        args["width"] = min(NARROW, float(args.get("width", 1)))
    return protocol.model_copy(update={"arms": protocol.arms | {first: origin.model_copy(update={"args": args})}})


@pytest.mark.parametrize(("slug", "name", "arm"), distinct_recipes())
def test_every_distinct_recipe_runs_two_steps(slug: str, name: str, arm: str) -> None:
    protocol = narrowed(slug, load_protocols(folder(slug) / "params.yaml")[name], arm)
    if not protocol.arms[arm].continues:
        run_of(slug, name, protocol, arm, protocol.seed).two_steps()
    else:
        untrained(slug, name, protocol, arm).two_steps()


@every_paper
def test_every_record_is_of_what_params_yaml_states_and_of_ancestors_that_are_pinned(slug: str) -> None:
    protocols = load_protocols(folder(slug) / "params.yaml")
    for name in protocols_recorded(slug):
        records = read_records(slug, name)
        assert records is not None and name in protocols
        for arm, record in records.arms.items():
            assert unlike(record.plan, slug, name, protocols[name], arm) is None
            assert {broken(records, protocols[name], arm, int(seed)) for seed in record.seeds} == {None}


@every_paper
def test_the_commit_of_every_record_is_in_this_history_or_marked_as_lost(slug: str) -> None:
    history = commits()
    if history is None:
        pytest.skip("no git here, or a shallow clone: `git fetch --unshallow` brings the history")
    for name in protocols_recorded(slug):
        records = read_records(slug, name)
        assert records is not None
        for arm, record in records.arms.items():
            for seed, run in record.seeds.items():
                assert run.lost == (run.code not in history), f"{name}/{arm}, seed {seed}"


@every_paper
def test_the_record_of_others_networks_is_of_the_pinned_files(slug: str) -> None:
    upstream = code_of(slug, "upstream")
    networks: dict[str, Published] = {} if upstream is None else getattr(upstream, "PUBLISHED", {})
    file = folder(slug) / "upstream.json"
    record = read_json(file) if networks else {}
    assert file.exists() == bool(networks) and list(record) == list(networks)
    for name, one in networks.items():
        assert one.paper == slug and one.model in models(slug)
        assert {key: record[name][key] for key in ("source", "sha256", "licence", "says")} == {
            "source": one.source, "sha256": one.sha256, "licence": one.licence, "says": one.says,
        }  # fmt: skip


@every_paper
def test_weights_are_kept_for_the_names_in_paper_yaml_alone_and_are_small(slug: str) -> None:
    kept = {f"{name}.{kind}" for name in load_paper(slug).keep for kind in ("json", "safetensors")}
    files = [path for path in (folder(slug) / "checkpoints").iterdir() if path.name != ".gitkeep"]
    assert {path.name for path in files} == kept
    assert sum(path.stat().st_size for path in files) <= 2.5e6
    for card in cards(slug):
        records = read_records(slug, card.protocol)
        assert records is not None and records.arms[card.arm].seeds[str(card.seed)].sha256 == card.sha256


def test_the_repository_stays_small() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    sizes = [(ROOT / name).stat().st_size for name in tracked.split("\0") if name and (ROOT / name).is_file()]
    assert sum(sizes) < 25e6
