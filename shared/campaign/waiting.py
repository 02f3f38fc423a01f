"""What claims wait for: the runs that neither the records nor the folder of a campaign have, where they can be made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from shared import datasets
from shared.checkpoints.evaluated import read_evaluated
from shared.checkpoints.gathered import runs_in
from shared.checkpoints.records import recorded
from shared.errors import PapertrailError
from shared.files import ROOT, read_json
from shared.ledger.claims import Claim, MeasureCheck, RunCheck
from shared.ledger.expand import read_claims
from shared.training.jobs import Job, jobs_of
from shared.training.protocol import Protocol, load_protocols
from shared.training.run import is_finished, run_of
from shared.training.tasks import task_of
from shared.weights.load import run_folder

LARGE = ("gpu", "cifar", "paper")  # how the protocols are called that are about the papers' own networks


@dataclass(frozen=True)
class Waiting:
    """A claim that a protocol's runs decide, and the runs that are missing, each behind the one that it continues."""

    paper: str
    claim: str
    protocol: str
    missing: tuple[Job, ...]


@dataclass(frozen=True)
class LeftOut:
    """Claims that wait for runs which this machine cannot make; `protocol` is empty where it is all of a paper."""

    paper: str
    protocol: str
    claims: int
    reason: str


def look(slug: str, out: Path) -> Iterator[Waiting | LeftOut]:
    """The claims of a paper that the records leave open, and what they wait for.

    Args:
        slug: of the paper.
        out: the campaign's folder, whose finished and evaluated runs are there already.
    """
    folder = ROOT / "papers" / slug
    try:
        protocols = load_protocols(folder / "params.yaml")
        claims = read_claims(folder / "claims.yaml", protocols)
    except PapertrailError as error:
        yield LeftOut(slug, "", 0, str(error))
        return
    for name, protocol in protocols.items():
        if not name.startswith(LARGE):
            continue
        tested = {claim.id: _arms(claim, name) for claim in claims}
        wanted = {claim: _unrecorded(slug, name, protocol, arms) for claim, arms in tested.items()}
        left = {claim: jobs for claim, jobs in wanted.items() if jobs}
        reason = _obstacle(protocol) if left else None
        if reason is not None:
            yield LeftOut(slug, name, len(left), reason)
            continue
        made = {job for job in {one for jobs in left.values() for one in jobs} if is_made(job, protocol, out)}
        for claim, jobs in left.items():
            yield Waiting(slug, claim, name, tuple(job for job in jobs if job not in made))


def is_made(job: Job, protocol: Protocol, out: Path) -> bool:
    """Whether the campaign's folder has what this job makes, under the plan of now, and what evaluating it gave."""
    runs = runs_in(out, job.paper)
    folder = run_folder(job.paper, job.protocol, job.arm, job.seed, runs)
    if not (folder / "run.json").exists():
        return False
    try:
        run = run_of(job.paper, job.protocol, protocol, job.arm, job.seed, runs)
    except PapertrailError:  # what it continues is not there any more
        return False
    return is_finished(run, folder) and read_evaluated(folder, read_json(folder / "run.json")["sha256"]) is not None


def _arms(claim: Claim, protocol: str) -> list[str]:
    """The arms of a protocol whose runs decide a claim; none where it is tested otherwise."""
    check = claim.check
    if isinstance(check, RunCheck) and check.protocol == protocol:
        return [check.better, check.than]
    return [check.arm] if isinstance(check, MeasureCheck) and check.protocol == protocol else []


def _unrecorded(slug: str, name: str, protocol: Protocol, arms: list[str]) -> list[Job]:
    """The jobs that make arms, of the seeds that are not pinned, each behind the one that it continues."""
    jobs = [
        job
        for arm in arms
        for seed in protocol.seeds
        if not recorded(slug, name, protocol, arm, seed)
        for job in jobs_of(slug, name, protocol, protocol.lineage(arm), seed)
    ]
    return list(dict.fromkeys(jobs))


def _obstacle(protocol: Protocol) -> str | None:
    """Why this machine cannot make a protocol's runs."""
    hardware, processes = protocol.trainer, protocol.trainer.devices * protocol.trainer.nodes
    if hardware.accelerator == "gpu" and not torch.cuda.is_available():
        return "it needs a GPU, and none is here"
    if hardware.precision == "16-mixed" and not torch.cuda.is_available():
        return "`precision: 16-mixed` needs a GPU, and none is here"
    if processes > 1:
        return f"one run takes {processes} GPUs"
    if task_of(protocol.recipe).boxes:
        return "how long a detector takes is not measured"
    try:
        missing = datasets.describe(protocol.data)["missing"]
    except PapertrailError as error:
        return str(error)
    return f"{protocol.data} is not here: {', '.join(missing)}" if missing else None
