"""Records: what pinned runs found, every seed of every arm of a protocol, in one sealed file.

papers/<slug>/records/<protocol>.json stays when weights go: the ledger reads nothing else. A record keeps the commit
that it was made under, and is worth what its plan is: see shared/ledger/evidence.py.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import model_validator

from shared.errors import PapertrailError, UsageError, nearest
from shared.files import text_bytes
from shared.schema import Strict, validated
from shared.weights.card import Arguments, Commit, Day, Hash, Identity, folder, home, pinned_names, read_card

SEAL = "seal"
WIDTH = 120


class Start(Strict):
    """The arm that a run continues, or the published network that it begins with, and the hash of its weights."""

    arm: str
    sha256: Hash


class SeedRecord(Strict):
    """One finished run.

    Attributes:
        metrics: on the test split, as the evaluation gave them.
        args: of the network in the end; what pruning decided is among them.
        params: parameters of that network, and `macs` its multiply-adds for one image.
        epochs: that were trained.
        start: of a run that begins with trained weights.
        reads: pinned weights that its arguments or its recipe name, with their hashes.
        sha256: of the weights file.
        code: the commit that was checked out when training began; or, where there was no git, the one that has the very
            sources (see shared/checkpoints/pin.py).
        lost: that commit is not in this history.
        sources_digest: of the code that made it.
        environment: SHA-256 over requirements.lock and mmcv.lock.
        seconds: that training took; of a run that was resumed, the last part alone.
        pinned: the day, YYYY-MM-DD.
        curves: by column, one number an epoch.
    """

    metrics: dict[str, float]
    args: Arguments
    params: int
    macs: int
    epochs: int
    start: Start | None = None
    reads: dict[str, Hash] = {}
    sha256: Hash
    code: Commit
    lost: bool = False
    sources_digest: Hash
    environment: Hash
    torch: str
    device: str
    seconds: float
    pinned: Day
    curves: dict[str, tuple[float, ...]]

    @model_validator(mode="after")
    def _columns(self) -> SeedRecord:
        if len({len(column) for column in self.curves.values()}) > 1:
            raise ValueError("the columns of `curves` differ in length")
        return self


class ArmRecord(Strict):
    """The plan of an arm (see shared/training/plan.py, `stated`), and its runs by seed."""

    plan: dict[str, Any]
    seeds: dict[str, SeedRecord]


class Records(Strict):
    """What the pinned runs of a protocol found, by arm."""

    paper: str
    protocol: str
    arms: dict[str, ArmRecord] = {}


def records_file(slug: str, protocol: str) -> Path:
    """Where the records of a protocol lie."""
    return home(slug) / "records" / f"{protocol}.json"


def protocols_recorded(slug: str) -> list[str]:
    """The protocols of which any run is pinned, in alphabetical order."""
    return sorted(path.stem for path in (home(slug) / "records").glob("[!.]*.json"))


def read_records(slug: str, protocol: str) -> Records | None:
    """The records of a protocol, of which nothing but line ends was changed; None where no run is pinned.

    Raises:
        PapertrailError: the seal is broken, an entry is malformed, or the file is another protocol's.
    """
    path = records_file(slug, protocol)
    if not path.exists():
        return None
    found = _parsed(path, text_bytes(path))
    if (found.paper, found.protocol) != (slug, protocol):
        raise PapertrailError(f"{path}: these are the records of {found.paper}/{found.protocol}; a file keeps its name")
    return found


def sealed(records: Records) -> str:
    """The text of a file of records: seeds in order, short values on one line, and a hash over everything else."""
    content = records.model_dump(mode="json")
    for arm in content["arms"].values():
        arm["seeds"] = {seed: arm["seeds"][seed] for seed in sorted(arm["seeds"], key=int)}
    return _sealed(content)


def identity(ref: str) -> Identity:
    """What "<slug>/<name>" is: kept weights, or a record named "<arm>-<protocol>-<seed>", whose weights are not kept.

    UsageError names the nearest when it is neither.
    """
    slug, _, name = ref.partition("/")
    card = folder(slug) / f"{name}.json"
    if card.exists():
        return read_card(card)
    recorded = []
    for protocol in protocols_recorded(slug):
        records = read_records(slug, protocol)
        assert records is not None
        for arm, record in records.arms.items():
            for seed, run in record.seeds.items():
                if name == f"{arm}-{protocol}-{seed}":
                    return _identity(record.plan, seed, run)
                recorded.append(f"{slug}/{arm}-{protocol}-{seed}")
    near = nearest(ref, [*pinned_names(), *recorded])
    raise UsageError(
        f"no checkpoint `{ref}`, nor a record of that name (<arm>-<protocol>-<seed>); {near} (`papertrail checkpoints` "
        "lists what is kept)"
    )


def _identity(plan: dict[str, Any], seed: str, run: SeedRecord) -> Identity:
    stated = {key: plan[key] for key in ("paper", "protocol", "arm", "model", "classes", "input", "data", "data_hash")}
    found = {"seed": int(seed), "args": run.args, "metrics": run.metrics, "sha256": run.sha256}
    return validated(Identity, stated | found, f"{records_file(plan['paper'], plan['protocol'])}: {plan['arm']}")


@functools.lru_cache(maxsize=64)
def _parsed(path: Path, raw: bytes) -> Records:
    """The ledger asks for one file a hundred times; another content is another entry of the cache."""
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise PapertrailError(f"{path}: not valid JSON ({error}); restore it with `git checkout -- {path}`") from error
    if not isinstance(content, dict) or _sealed(content).encode() != raw:
        raise PapertrailError(
            f"{path}: the records were changed after they were sealed; restore them with `git checkout -- {path}`"
        )
    return validated(Records, {key: value for key, value in content.items() if key != SEAL}, str(path))


def _sealed(content: dict[str, Any]) -> str:
    """The one text that records of this content have."""
    unsealed = {key: value for key, value in content.items() if key != SEAL}
    own = hashlib.sha256(json.dumps(unsealed, sort_keys=True).encode()).hexdigest()
    return _compact(unsealed | {SEAL: own}) + "\n"


def _compact(value: Any, depth: int = 0) -> str:
    """JSON in which a value that fits has one line, and a column of numbers too: a difference shows what changed."""
    line = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))
    if not value or not nested or (depth > 1 and depth + len(line) <= WIDTH):
        return line
    pad, brackets = "\n" + " " * (depth + 1), "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, dict):
        entries = [f"{json.dumps(key)}: {_compact(entry, depth + 1)}" for key, entry in value.items()]
    else:
        entries = [_compact(entry, depth + 1) for entry in value]
    return brackets[0] + pad + f",{pad}".join(entries) + "\n" + " " * depth + brackets[1]
