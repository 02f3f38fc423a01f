"""A campaign: what is run, what is left for another time, and all of it once, with a paper of a few seconds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from shared.campaign import campaign as module
from shared.campaign.campaign import campaign
from shared.campaign.cost import Cost, Costs
from shared.campaign.show import MOST, show
from shared.campaign.waiting import LeftOut, Waiting
from shared.errors import PapertrailError
from shared.files import ROOT, read_json
from shared.training.jobs import Job

# What stands for a job: it says that it is under way, sleeps, and is done; or fails.
SCRIPT = """
import sys, time
from pathlib import Path
arm, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
(folder / "resume.ckpt").touch()
print("at work", flush=True)
time.sleep(seconds)
if arm == "bad":
    sys.exit("no more disk")
(folder / "resume.ckpt").unlink()
(folder / "done").touch()
"""


class World:
    """Claims of one protocol, each of one arm with two seeds; how long those are said to take, and how long they do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, out: Path, **seconds: float) -> None:
        self.out, self.seconds, self.measured = out, seconds, list[str]()
        self.asleep = dict.fromkeys(seconds, 0.1)
        monkeypatch.setattr(module, "ENDING", 0.0)
        monkeypatch.setattr(module, "look", self.look)
        monkeypatch.setattr(module, "made", self.words)
        monkeypatch.setattr(Costs, "of", lambda costs, job: costs.arms.get(job.arm))
        monkeypatch.setattr(Costs, "seconds", lambda costs, job: self.seconds[job.arm])
        monkeypatch.setattr(Costs, "measure", lambda costs, *what: self.measure(costs, *what))

    def folder(self, arm: str, seed: int) -> Path:
        return self.out / "papers/ghostnet/runs/gpu" / arm / "seeds" / str(seed)

    def look(self, slug: str, out: Path) -> Iterator[Waiting | LeftOut]:
        for arm in self.seconds:
            jobs = [Job(slug, "gpu", arm, seed, "train") for seed in (0, 1)]
            missing = tuple(job for job in jobs if not (self.folder(arm, job.seed) / "done").exists())
            yield Waiting(slug, arm, "gpu", missing)
            if arm == "long":  # it decides more for a minute
                yield from (Waiting(slug, f"long-{number}", "gpu", missing) for number in range(500))
        yield LeftOut(slug, "paper", 7, "it needs a GPU")

    def words(self, job: Job, runs: Path) -> list[str]:
        assert runs == self.out / "papers/ghostnet/runs"
        return ["-c", SCRIPT, job.arm, str(self.folder(job.arm, job.seed)), str(self.asleep[job.arm])]

    def measure(self, costs: Costs, slug: str, name: str, jobs: list[Job], until: float) -> None:
        arms = list(dict.fromkeys(job.arm for job in jobs))
        self.measured += arms
        if "slow" in arms:
            time.sleep(max(0.0, until - time.monotonic()))
        if {"broken", "slow"} & {*arms}:
            raise PapertrailError("it cannot be trained")
        costs.arms |= {arm: Cost("", 1, 0, 0, 0, 1, 1) for arm in arms}
        costs.rates = {1: 1.0, 2: 2.0}


def test_what_claims_wait_for_is_made_and_what_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, tmp_path, ghost=0.1, bad=0.2)
    planned = campaign(["ghostnet"], tmp_path, 1, dry_run=True)
    assert [step.claim.claim for step in planned.steps] == ["ghost", "bad"] and planned.count == 2
    assert not (tmp_path / "papers").exists() and world.measured == ["ghost", "bad"]
    found = campaign(["ghostnet"], tmp_path, 1)
    assert [claim.claim for claim in found.ready] == ["ghost"] and found.steps == ()
    assert {(left.protocol, left.claims): left.reason for left in found.left_out} == {
        ("paper", 7): "it needs a GPU",
        ("gpu", 1): "papers/ghostnet gpu bad --seed 0: it failed, its message stands above",
    }
    kept = read_json(tmp_path / "campaign.json")
    assert [claim["claim"] for claim in kept["ready"]] == ["ghost"] and kept["steps"] == []


def test_it_ends_before_the_time_is_up_and_what_does_not_fit_is_begun_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(monkeypatch, tmp_path, long=60.0, short=1.0)
    world.asleep["long"] = 60.0
    began = time.monotonic()
    found = campaign(["ghostnet"], tmp_path, 8 / 60)
    assert time.monotonic() - began < 30
    assert [claim.claim for claim in found.ready] == ["short"]
    assert found.steps[0].claim.claim == "long", "what it decides is worth the minutes"
    assert [(job.arm, job.seed) for job in found.begun] == [("long", 0), ("long", 1)]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()][:2] == ["short", "short"]


def test_only_what_there_is_time_for_is_measured_and_what_cannot_be_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, tmp_path, first=100.0, second=200.0, third=500.0, fourth=2000.0)
    assert len(campaign(["ghostnet"], tmp_path, 10, dry_run=True).steps) == 4
    # Two claims, of 200 and 400 s, fill ten minutes of one process; then two at once are known to pay.
    assert world.measured == ["first", "second", "third"]
    broken = World(monkeypatch, tmp_path / "other", broken=100.0, fine=2000.0)
    found = campaign(["ghostnet"], tmp_path / "other", 10, dry_run=True)
    assert [step.claim.claim for step in found.steps] == ["fine"] and broken.measured == ["broken", "fine"]
    assert found.left_out[-1] == LeftOut(
        "ghostnet", "gpu", 1, "papers/ghostnet gpu broken --seed 0: it cannot be trained"
    )


def test_what_could_not_be_measured_in_time_waits_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    World(monkeypatch, tmp_path, slow=100.0)
    found = campaign(["ghostnet"], tmp_path, 2 / 60)
    assert [step.claim.claim for step in found.steps] == ["slow"]
    assert [left.protocol for left in found.left_out] == ["paper"]


def test_the_table_says_what_can_be_pinned_what_is_next_and_what_this_machine_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(monkeypatch, tmp_path, ghost=90.0, **{f"arm{number}": 3600.0 for number in range(MOST + 1)})
    for seed in (0, 1):
        world.folder("arm0", seed).mkdir(parents=True)
        (world.folder("arm0", seed) / "done").touch()
    world.folder("arm1", 0).mkdir(parents=True)
    (world.folder("arm1", 0) / "resume.ckpt").touch()
    show(campaign(["ghostnet"], tmp_path, 10, dry_run=True))
    out = capsys.readouterr().out
    assert re.search(r"^ghostnet +gpu +arm0 +all seeds there *$", out, re.M)
    assert re.search(r"^ghostnet +gpu +ghost +2 +1\.5 +next *$", out, re.M)
    assert re.search(r"^ghostnet +gpu +arm1 +2 +60\.0 +under way *$", out, re.M)
    assert "left out: ghostnet paper, 7 claims: it needs a GPU\n" in out
    assert "1 claims more would take about 1.0 hours\n1 claims have all their seeds, 13 wait; " in out
    assert "12 of the times are guessed from the number of images" in " ".join(out.split())


PROTOCOL = {
    "what": "a few seconds",
    "data": "mnist5k",
    "arms": {"plain": {"builder": "vgg16", "args": {"width": 0.0625}}, "tuned": {"of": "plain"}},
    "recipe": {"epochs": 1, "batch_size": 100, "optimiser": {"name": "sgd", "lr": 0.05}},
    "trainer": {"accelerator": "cpu"},
}
PROTOCOLS = {
    "mini": PROTOCOL,
    "gpu": PROTOCOL,
    "paper": PROTOCOL | {"trainer": {"devices": 8, "strategy": "ddp"}},
}
CLAIMS = [
    {
        "exhibit": "Table 5",
        "confidence": "read",
        "rows": [{"row": "VGG-16", "arm": "paper/plain", "tolerance": 0.5, "says": {"top1": "93.6"}}],
        "orderings": [
            {
                "id": "order", "row": "tuned against plain", "says": "better", "protocols": ["gpu"], "better": "tuned",
                "than": "plain", "floor": {"top1": 20}, "criterion": "Tuned it is more accurate.",
            }
        ],
    }
]  # fmt: skip
PROGRAM = """
import sys
from shared import cli
for words in (["--dry-run"], [], []):
    sys.argv = ["papertrail", "campaign", "--minutes", "20", "--json", *words]
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code == 0, words
    print("next")
heavy = ("dvc", "IPython", "jupyter_core", "nbclient", "mmdet", "mmcv", "pyarrow")
assert not {*heavy} & {*sys.modules}, {*heavy} & {*sys.modules}
"""


def test_a_paper_from_end_to_end_without_git(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "requirements.lock", "mmcv.lock", "papers/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name, unwanted in (("shared", ()), ("papers/ghostnet", ("runs", "records")), ("data/mnist5k", ("raw",))):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", *unwanted))
    (tmp_path / "papers/ghostnet/params.yaml").write_text(yaml.safe_dump(PROTOCOLS))
    (tmp_path / "papers/ghostnet/claims.yaml").write_text(yaml.safe_dump(CLAIMS))
    threads = str(os.cpu_count())  # so that one process at once is all that a CPU has room for
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": threads, "PAPERTRAIL_DATA": ""}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    planned, made, again = (json.loads(text) for text in ended.stdout.split("next\n")[:3])
    assert [[job["arm"] for job in step["jobs"]] for step in planned["steps"]] == [["plain", "tuned"]]
    assert planned["steps"][0]["seconds"] > 0 and planned["ready"] == []
    (left,) = planned["left_out"]
    assert left == {"paper": "ghostnet", "protocol": "paper", "claims": 1, "reason": "one run takes 8 GPUs"}
    assert made["steps"] == made["begun"] == [] and [claim["claim"] for claim in made["ready"]] == ["order.gpu"]
    assert again == made
    runs = tmp_path / "campaign/papers/ghostnet/runs/gpu"
    record = read_json(runs / "tuned/seeds/0/run.json")
    assert record["code"] == "unknown" and record["plan"]["start"]["arm"] == "plain"
    evaluated = read_json(runs / "tuned/evaluated/0.json")
    assert evaluated["code"] == "unknown" and len(evaluated["sources_digest"]) == 64
