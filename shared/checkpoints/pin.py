"""Pinning: what runs found becomes part of the repository, and the weights that paper.yaml keeps with it."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from shared.builders import build
from shared.checkpoints.evaluated import read_evaluated
from shared.checkpoints.gathered import CAMPAIGN, Gathered, gather
from shared.checkpoints.history import commits, release_tag
from shared.checkpoints.records import broken, unlike, with_runs
from shared.errors import PapertrailError, UsageError
from shared.files import atomic_write, git_commit, read_json
from shared.measure import count
from shared.paper import load_paper
from shared.schema import validated
from shared.training.plan import starts
from shared.training.protocol import Protocol, load_protocol
from shared.weights.card import LICENCE, Arguments, Card, Golden, folder, home, read_card, seal
from shared.weights.load import noise
from shared.weights.records import Records, SeedRecord, read_records, records_file, sealed
from shared.weights.storage import content_digest, fill, load_weights

NOISE_SEED = 0
COMMIT = r"[0-9a-f]{40}"


@dataclass(frozen=True)
class Finished:
    """A finished and evaluated run: the plan that params.yaml states, and what it found."""

    folder: Path
    plan: dict[str, Any]
    seed: int
    record: SeedRecord

    @property
    def place(self) -> tuple[str, str, str]:
        """Paper, protocol and arm."""
        return self.plan["paper"], self.plan["protocol"], self.plan["arm"]

    @property
    def name(self) -> str:
        """What its weights are called where they are kept."""
        return f"{self.plan['arm']}-{self.plan['protocol']}-{self.seed}"


@dataclass(frozen=True)
class Pinned:
    """What was written, which records of other arms are refused from now on, and what of a campaign is not whole yet,
    with the reasons."""

    seeds: tuple[str, ...]
    checkpoints: tuple[Card, ...]
    refused: tuple[str, ...]
    left: tuple[str, ...] = ()


def pin(runs: Sequence[Path], *, replace: bool = False) -> Pinned:
    """Pin runs: a seed's folder, papers/<slug>/runs/<protocol>/<arm>/seeds/<N>, an arm's, with every seed in it, or a
    campaign's, with every arm that is whole.

    All are written or none. Weights are kept for the names under `keep:` in paper.yaml.

    Raises:
        UsageError: a folder holds no finished run; or a seed is pinned with another result and `replace` is not set;
            or its kept weights were released, which never change again.
        PapertrailError: a run was not evaluated, is damaged, was made or evaluated from sources that no commit of this
            history holds, under another plan than params.yaml states, or from other weights than its ancestor is pinned
            with.
    """
    found = [gather(run) if (run / CAMPAIGN).exists() else Gathered(tuple(seed_folders(run)), ()) for run in runs]
    groups: dict[tuple[str, str], list[Finished]] = {}
    for run in (read_run(seed) for one in found for seed in one.seeds):
        groups.setdefault(run.place[:2], []).append(run)
    contents: dict[Path, bytes] = {}
    made: list[Card] = []
    refused: list[str] = []
    for (slug, name), finished in groups.items():
        protocol = load_protocol(home(slug) / "params.yaml", name)
        before = read_records(slug, name) or Records(paper=slug, protocol=name)
        after = _with(before, protocol, finished, replace)
        contents[records_file(slug, name)] = sealed(after).encode()
        refused += _refused(before, after, protocol)
        for run in finished:
            if (own := _kept_name(run)) is not None:
                made.append(_card(run, own))
                contents[folder(slug) / f"{own}.json"] = seal(made[-1]).encode()
                contents[folder(slug) / f"{own}.safetensors"] = (run.folder / "weights.safetensors").read_bytes()
    with contextlib.ExitStack() as files:  # each has its whole content before the first takes its name
        streams = {path: files.enter_context(atomic_write(path, "wb")) for path in contents}
        for path, stream in streams.items():
            stream.write(contents[path])
            stream.flush()
    seeds = tuple(f"{'/'.join(run.place)}/{run.seed}" for finished in groups.values() for run in finished)
    return Pinned(seeds, tuple(made), tuple(refused), tuple(line for one in found for line in one.left))


def _with(before: Records, protocol: Protocol, finished: list[Finished], replace: bool) -> Records:
    """The records of a protocol and finished runs of it; see `pin` for errors."""
    after = before
    for run in finished:
        _may_pin(run, protocol, before, replace)
    for arm in dict.fromkeys(run.plan["arm"] for run in finished):
        group = [run for run in finished if run.plan["arm"] == arm]
        _one_plan(before, protocol, group)
        after = with_runs(after, arm, group[0].plan, {run.seed: run.record for run in group})
    for run in finished:
        fault = broken(after, protocol, run.plan["arm"], run.seed)
        if fault is not None:
            raise PapertrailError(
                f"{run.folder}: {fault}; pin its ancestors first, or train it again from what they left"
            )
    return after


def seed_folders(run: Path) -> list[Path]:
    """The seeds' folders of an arm's folder; or the one that was given."""
    seeds = [one for one in (run / "seeds").glob("*") if one.name.isdecimal() and (one / "run.json").exists()]
    if not seeds and not (run / "run.json").exists():
        raise UsageError(
            f"{run}: no finished run (run.json) here; give papers/<slug>/runs/<protocol>/<arm>, or seeds/<N> in it"
        )
    return sorted(seeds, key=lambda folder: int(folder.name)) or [run]


def read_run(run: Path) -> Finished:
    """What `train` (or `prune`) and `evaluate` left of one seed, hashes and commits checked; see `pin` for errors."""
    result = read_json(run / "run.json")
    plan = dict(result["plan"])
    code = _commit(run, "made", result["code"], plan, plan["sources_digest"])
    seed, begun = plan.pop("seed"), {key: plan.pop(key) for key in ("start", "reads", "sources_digest")}
    counted = count(_network(run, plan, result["args"], result["sha256"])[0], tuple(plan["input"]))
    rows = result["curves"]
    own = {key: result[key] for key in ("args", "epochs", "sha256", "environment", "torch", "device", "seconds")}
    found: dict[str, Any] = (
        own
        | begun
        | {
            "code": code,
            "metrics": _metrics(run, result["sha256"], plan),
            "params": counted.params,
            "macs": counted.macs,
            "pinned": datetime.date.today().isoformat(),
            "curves": {name: [row[name] for row in rows] for name in (rows[0] if rows else {})},
        }
    )
    return Finished(run, plan, seed, validated(SeedRecord, found, str(run / "run.json")))


def _network(run: Path, plan: dict[str, Any], args: Arguments, sha256: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network that a run ended with, and its tensors as they were written."""
    weights = run / "weights.safetensors"
    state = load_weights(weights, sha256)
    network = build(plan["paper"], plan["model"], dict(args), plan["classes"], plan["input"][0])
    fill(network, state, weights)
    return network, state


def _metrics(run: Path, sha256: str, plan: dict[str, Any]) -> dict[str, float]:
    found = read_evaluated(run, sha256)
    if found is None:
        raise PapertrailError(f"{run}: its weights were not evaluated; evaluate the arm first: `papertrail evaluate`")
    _commit(run, "evaluated", found.code, plan, found.sources_digest)
    return found.metrics


def _commit(run: Path, done: Literal["made", "evaluated"], code: str, plan: dict[str, Any], digest: str | None) -> str:
    """The commit of this history whose sources did it.

    Where there was no git ("unknown") it is the one that is checked out, if its sources are the very ones: their digest
    is what was found there.
    """
    if code == "unknown":
        here = git_commit()
        if not re.fullmatch(COMMIT, here) or _digest_here(plan, done) != digest:
            raise PapertrailError(
                f"{run}: {done} from sources that no commit holds, as far as can be told without git (code: {code}): "
                f"they are not those that are here ({here}); pin it from a clean checkout of the commit that was taken"
            )
        return here
    if not re.fullmatch(COMMIT, code):
        raise PapertrailError(
            f"{run}: {done} from sources that no commit holds (code: {code}); commit them and run again"
        )
    history = commits()
    if history is not None and code not in history:
        raise PapertrailError(f"{run}: {done} at commit {code}, which is not in this history; run it again")
    return code


def _digest_here(plan: dict[str, Any], done: Literal["made", "evaluated"]) -> str | None:
    """Of the sources that would do the same here; None where params.yaml has no such arm any more."""
    from shared.closure import digest  # late: nothing else here needs an import graph

    slug, name, arm = plan["paper"], plan["protocol"], plan["arm"]
    protocol = load_protocol(home(slug) / "params.yaml", name)
    if arm not in protocol.arms:
        return None
    return digest(starts(slug, protocol, arm, protocol.action(arm) if done == "made" else "evaluate"))


def _may_pin(run: Finished, protocol: Protocol, before: Records, replace: bool) -> None:
    slug, name, arm = run.place
    if arm not in protocol.arms:
        raise PapertrailError(f"{run.folder}: params.yaml has no arm `{arm}` under `{name}` any more")
    difference = unlike(run.plan, slug, name, protocol, arm)
    if difference is not None:
        raise PapertrailError(f"{run.folder}: its plan is not what params.yaml states: {difference}; run it again")
    known = before.arms[arm].seeds.get(str(run.seed)) if arm in before.arms else None
    if known and (known.sha256, known.metrics) != (run.record.sha256, run.record.metrics) and not replace:
        raise UsageError(f"seed {run.seed} of {name}/{arm} is pinned with another result; to replace it, add --replace")


def _one_plan(before: Records, protocol: Protocol, group: list[Finished]) -> None:
    """Seeds that are pinned already and stay must be of the same plan."""
    slug, name, arm = group[0].place
    if arm not in before.arms:
        return
    stay = [seed for seed in before.arms[arm].seeds if int(seed) not in {run.seed for run in group}]
    if stay and unlike(before.arms[arm].plan, slug, name, protocol, arm) is not None:
        raise UsageError(
            f"{name}/{arm}: seeds {', '.join(stay)} are pinned under another plan; pin every seed of the arm at once"
        )


def versions(slug: str, name: str) -> list[str]:
    """The names under `keep:` of one run's weights, the newest last: "<arm>-<protocol>-<seed>", and with -v2, -v3."""
    return [kept for kept in load_paper(slug).keep if re.fullmatch(rf"{re.escape(name)}(-v\d+)?", kept)]


def _kept_name(run: Finished) -> str | None:
    """What the run's weights are to be called; None where they are not kept."""
    slug = run.place[0]
    names = versions(slug, run.name)
    if not names:
        return None
    target, tag = folder(slug) / f"{names[-1]}.json", release_tag(f"{slug}/{names[-1]}")
    if tag is not None and target.exists() and read_card(target).sha256 != run.record.sha256:
        raise UsageError(
            f"{target}: released as {tag}, and never overwritten; put `{run.name}-v{len(names) + 1}` behind it under "
            "`keep:` in paper.yaml, and pin again"
        )
    return names[-1]


def _card(run: Finished, name: str) -> Card:
    plan, record, names = run.plan, run.record, versions(run.place[0], run.name)
    earlier = names[: names.index(name)]
    network, state = _network(run.folder, plan, record.args, record.sha256)
    with torch.inference_mode():
        logits = network.eval()(noise(tuple(plan["input"]), NOISE_SEED)).tolist()
    made: dict[str, Any] = {
        "seed": run.seed,
        "args": record.args,
        "metrics": record.metrics,
        "sha256": record.sha256,
        "name": name,
        "params": record.params,
        "macs": record.macs,
        "licence": LICENCE,
        "bytes": (run.folder / "weights.safetensors").stat().st_size,
        "digest": content_digest(state),
        "golden": Golden(noise_seed=NOISE_SEED, logits=logits),
        "pinned": record.pinned,
        "supersedes": earlier[-1] if earlier else None,
    }
    stated = {key: plan[key] for key in ("paper", "protocol", "arm", "model", "classes", "input", "data", "data_hash")}
    return validated(Card, stated | made, str(run.folder))


def _refused(before: Records, after: Records, protocol: Protocol) -> tuple[str, ...]:
    """Arms that went on from what was replaced."""
    found = []
    for arm, record in before.arms.items():
        for seed in map(int, record.seeds):
            if arm in protocol.arms and broken(before, protocol, arm, seed) is None:
                fault = broken(after, protocol, arm, seed)
                found += [] if fault is None else [f"{arm}: {fault}"]
    return tuple(found)
