"""Gates of residual branches: how they are trained, and what is left without the closed ones."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from papers.rethinking_pruning.branches import gated_blocks
from papers.rethinking_pruning.method import ByGate, Gates, SoftFilters
from shared import datasets
from shared.baselines.resnet_cifar import CifarResNet, plain
from shared.builders import build
from shared.compression.continued import ContinuedRun, continued
from shared.compression.prune import prune
from shared.errors import PapertrailError
from shared.files import read_json, sha256_file, write_json
from shared.measure import count
from shared.training.classification import ClassificationRecipe
from shared.training.fit import ClassificationRun
from shared.training.optim import build_optimiser
from shared.training.protocol import Protocol
from shared.training.pruning import Prune, Pruned
from shared.training.recipe import Optimiser
from shared.training.run import finished, train_run
from shared.weights.storage import fill, load_weights, save_weights
from tests.shared.compression.networks import settled, widths_of

SPEC = datasets.spec("mnist5k")
SGD: dict[str, Any] = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


def gated(*gates: float) -> CifarResNet:
    """ResNet-20 of width a quarter for the digits, with these gates in turn."""
    network = CifarResNet(20, width=0.25, gates=True, in_channels=1)
    settled(network, seed=1)
    with torch.no_grad():
        for number, block in enumerate(gated_blocks(network).values()):
            block.gate.fill_(gates[number % len(gates)])
    return network


def small(args: dict[str, Any]) -> CifarResNet:
    return CifarResNet(20, width=0.25, in_channels=1, **args)


def rebuilt(args: dict[str, Any], state: dict[str, Tensor]) -> CifarResNet:
    network = small(args)
    fill(network, state, Path("pruned"))
    return network.eval()


def by_gate(network: nn.Module, onto: nn.Module | None = None) -> Pruned:
    return prune(network, ByGate(by="gate"), SPEC, 0, small, onto=onto)[0]


# The step


class Lines(nn.Module):
    """Two numbers in front of fixed slopes: gates with known gradients."""

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)
        for layer in (self.first, self.second):
            layer.gate = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, slopes: Tensor) -> Tensor:
        return slopes[0] * self.first.gate + slopes[1] * self.second.gate + self.first.weight.sum() * slopes[2]


def by_formula(slopes: list[float], rates: list[float], momentum: float, gamma: float) -> list[float]:
    """The step as the paper has it, in plain numbers."""
    gate, speed, path = 1.0, 0.0, []
    for slope, rate in zip(slopes, rates, strict=True):
        moved = gate - rate * slope
        shrunk = max(abs(moved) - rate * gamma, 0.0) * (1 if moved > 0 else -1)
        speed = shrunk - gate + momentum * speed
        gate = shrunk + momentum * speed
        path.append(gate)
    return path


def trained_by(network: nn.Module, gamma: float, **optimiser: Any) -> torch.optim.Optimizer:
    method = Gates(name="gates", penalty=gamma)
    method.attach(network)
    return build_optimiser(network, Optimiser(**SGD | optimiser), method)


def walk(slopes: list[Tensor], rates: list[float], gamma: float, *, closure: bool, again: int = -1) -> Tensor:
    """(steps, 2): the gates after each step; after step `again` a new optimiser goes on from the old one's state."""
    network = Lines()
    optimiser = trained_by(network, gamma)
    path = []
    for number, (slope, rate) in enumerate(zip(slopes, rates, strict=True)):
        for group in optimiser.param_groups:
            group["lr"] = rate

        def backward(slope: Tensor = slope) -> Tensor:
            network.zero_grad()
            loss = network(slope)
            loss.backward()
            return loss

        if closure:
            optimiser.step(backward)  # type: ignore[arg-type]
        else:
            backward()
            optimiser.step()
        path.append(torch.stack([network.first.gate.detach(), network.second.gate.detach()]))
        if number == again:
            state = copy.deepcopy(optimiser.state_dict())
            optimiser = trained_by(network, gamma)
            optimiser.load_state_dict(state)
    return torch.stack(path)


SLOPES = [0.3, -0.5, 1.2, 0.4, 2.0, 0.1, -0.2, 3.0, 0.0, 0.05, -0.1, 0.0]
RATES = [0.1] * 6 + [0.02] * 6


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_a_step_is_that_of_the_formula(gamma: float, closure: bool) -> None:
    slopes = [torch.tensor([slope, -slope, 1.0]) for slope in SLOPES]
    path = walk(slopes, RATES, gamma, closure=closure)
    assert path[:, 0].tolist() == pytest.approx(by_formula(SLOPES, RATES, 0.9, gamma), abs=1e-7)
    negative = by_formula([-slope for slope in SLOPES], RATES, 0.9, gamma)
    assert path[:, 1].tolist() == pytest.approx(negative, abs=1e-7)


def test_without_a_penalty_it_is_nesterovs_momentum() -> None:
    slopes = [torch.tensor([slope, -slope, 1.0]) for slope in SLOPES]
    rates = [0.1] * len(SLOPES)
    theirs = nn.Parameter(torch.ones((), dtype=torch.float64))
    reference = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True)
    for slope, ours in zip(SLOPES, walk(slopes, rates, 0.0, closure=False)[:, 0].tolist(), strict=True):
        theirs.grad = torch.tensor(slope, dtype=torch.float64)
        reference.step()
        assert ours == pytest.approx(theirs.item(), abs=1e-7)


def test_a_gate_whose_gradient_is_below_the_penalty_ends_at_nought_exactly() -> None:
    slopes = [torch.tensor([0.4, -1.5, 1.0])] * 60
    path = walk(slopes, [0.1] * 60, 1.0, closure=True)
    assert path[-1, 0] == 0 and path[-1, 1] > 1


def test_the_speed_is_part_of_the_optimisers_state() -> None:
    slopes = [torch.tensor([slope, -slope, 1.0]) for slope in SLOPES]
    assert torch.equal(walk(slopes, RATES, 0.3, closure=True), walk(slopes, RATES, 0.3, closure=True, again=4))


def test_other_parameters_take_the_steps_that_they_took_before() -> None:
    """Gates take no weight decay, and their treatment changes no other parameter's."""
    one, two = (Lines() for _ in range(2))
    two.load_state_dict(one.state_dict())
    plain = build_optimiser(two, Optimiser(**SGD | {"weight_decay": 0.5}))
    for network, optimiser in ((one, trained_by(one, 0.0, weight_decay=0.5)), (two, plain)):
        network(torch.tensor([0.0, 0.0, 1.0])).backward()
        optimiser.step()
    assert torch.equal(one.first.weight, two.first.weight)
    assert one.first.gate == 1, "a gradient of 0 and no weight decay"
    assert two.first.gate < 1


def test_the_methods_need_what_they_act_on() -> None:
    gates, soft = Gates(name="gates", penalty=0.1), SoftFilters(name="soft-filters", share=0.5)
    with pytest.raises(PapertrailError, match=r"recipe\.method: the network has no gates"):
        gates.attach(CifarResNet(8, width=0.25))
    base: dict[str, Any] = {"epochs": 1, "batch_size": 10, "optimiser": SGD}
    with pytest.raises(ValueError, match="`gates` needs the optimiser `sgd`"):
        ClassificationRecipe(**base | {"method": gates, "optimiser": {"name": "adamw", "lr": 0.1}})
    for method in (gates, soft):
        with pytest.raises(ValueError, match=f"`{method.name}` needs a recipe without `ema_decay`"):
            ClassificationRecipe(**base | {"method": method, "ema_decay": 0.9})


# The networks


@settings(max_examples=8, deadline=None)
@given(
    gates=st.lists(st.one_of(st.just(0.0), st.floats(-2, 2, width=32)), min_size=9, max_size=9).filter(any),
    seed=st.integers(0, 5),
)
def test_without_closed_branches_the_function_is_the_same(gates: list[float], seed: int) -> None:
    network = gated(*gates)
    images = torch.randn(3, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    pruned = by_gate(network)
    assert pruned.args == {"gates": False, "branches": "-".join("0" if gate == 0 else "1" for gate in gates)}
    with torch.no_grad():
        wanted, found = network(images), rebuilt(pruned.args, pruned.state)(images)
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_what_is_left_is_counted_saved_and_read_back(tmp_path: Path) -> None:
    network = gated(0.5, 0.0, -1.5, 0.25, 0.0, 1.0)
    pruned = by_gate(network)
    assert pruned.args["branches"] == "1-0-1-1-0-1-1-0-1" and pruned.floored == ()
    smaller, whole = rebuilt(pruned.args, pruned.state), CifarResNet(20, width=0.25, in_channels=1)
    shape, places = (1, 28, 28), {4: 28 * 28, 8: 14 * 14, 16: 7 * 7}
    # (in, out) of the second branch of each stage
    lost = [(network.blocks[n].conv1[0].in_channels, network.blocks[n].conv1[0].out_channels) for n in (1, 4, 7)]
    weights = {n: 9 * (i * o + o * o) for n, (i, o) in enumerate(lost)}
    before, after = count(whole, shape), count(smaller, shape)
    assert before.params - after.params == sum(weights[n] + 4 * o for n, (_, o) in enumerate(lost))
    assert before.macs - after.macs == sum(weights[n] * places[o] for n, (_, o) in enumerate(lost))

    save_weights(tmp_path / "weights.safetensors", pruned.state)
    digest = sha256_file(tmp_path / "weights.safetensors")
    again = rebuilt(pruned.args, load_weights(tmp_path / "weights.safetensors", digest))
    images = torch.randn(2, *shape)
    assert torch.equal(again(images), smaller(images))


def test_the_same_branches_go_out_of_another_network_with_its_own_gates() -> None:
    ticket = gated(1.0)
    pruned = by_gate(gated(0.5, 0.0, 1.0), onto=ticket)
    left = rebuilt(pruned.args, pruned.state)
    assert pruned.args["branches"] == "1-0-1-1-0-1-1-0-1"
    for name, tensor in left.state_dict().items():
        assert torch.equal(tensor, ticket.state_dict()[name]), name


def test_a_network_without_gates_or_with_closed_ones_alone_is_refused() -> None:
    with pytest.raises(PapertrailError, match="give its builder `gates: true`"):
        by_gate(CifarResNet(8, width=0.25))
    with pytest.raises(PapertrailError, match=r"every gate is 0.*recipe\.method\.penalty"):
        by_gate(gated(0.0))


def test_a_ratio_takes_the_smallest_gates() -> None:
    pruned, _ = prune(gated(0.5, -0.01, -1.5, 0.25, 0.03, 1.0), ByGate(by="gate", ratio=0.33), SPEC, 0, small)
    assert pruned.args["branches"] == "1-0-1-1-0-1-1-0-1"


def test_the_ratio_is_one_number_and_only_gates_do_without() -> None:
    with pytest.raises(ValueError, match="`by: l1` needs a `ratio`"):
        Prune.model_validate({"by": "l1"})
    for wrong in ({"ratio": {"blocks.0": 0.5}}, {"ratio": 0.5, "scope": "layer"}):
        with pytest.raises(ValueError, match="`by: gate` judges branches"):
            ByGate.model_validate({"by": "gate"} | wrong)


def test_gates_begin_at_one_and_draw_nothing() -> None:
    networks = []
    for gates in (False, True):
        torch.manual_seed(0)
        networks.append(CifarResNet(20, width=0.25, gates=gates).eval())
    own, others = (network.state_dict() for network in networks)
    assert own.keys() == {name for name in others if not name.endswith(".gate")}
    assert all(torch.equal(tensor, others[name]) for name, tensor in own.items())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(networks[0](images), networks[1](images))


def test_widths_are_those_of_the_branches_that_stay() -> None:
    network = CifarResNet(8, width=0.5, branches="1-0-1", widths="3-20")
    assert network.prunable == ("blocks.0.conv1.1", "blocks.2.conv1.1") and widths_of(network) == "3-20"
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    taps = network.features(torch.randn(2, 3, 32, 32))
    assert [tuple(taps[f"stage{number}"].shape) for number in (1, 2, 3)] == [
        (2, 8, 32, 32), (2, 16, 16, 16), (2, 32, 8, 8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"branches": "1-0"}, "for each of the 3 blocks"),
        ({"branches": "1-2-1"}, "for each of the 3 blocks"),
        ({"branches": "1-0-1", "widths": "8-8-8"}, "prunable layers"),
        ({"gates": True, "branches": "1-0-1"}, "whole plain network"),
        ({"gates": True, "widths": "8-8-8"}, "whole plain network"),
        ({"gates": True, "attention": lambda channels: nn.Identity()}, "whole plain network"),
        ({"gates": True, "conv": lambda *args, **kwargs: plain(*args, **kwargs)}, "whole plain network"),
    ],
)
def test_what_cannot_go_together_is_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CifarResNet(8, **{"width": 0.5} | args)


# Runs

PAPER, NAME, WIDTH = "rethinking_pruning", "tiny", 0.0625
CLOSED = ("blocks.1.gate", "blocks.6.gate")
GATED = {"builder": "resnet20", "args": {"width": WIDTH, "gates": True}}
RECIPE: dict[str, Any] = {"epochs": 1, "batch_size": 500, "optimiser": SGD}
PROTOCOL = Protocol.model_validate(
    {
        "what": "seconds on the embedded digits",
        "data": "mnist5k",
        "recipe": RECIPE,
        "trainer": {"accelerator": "cpu"},
        "arms": {
            "sparse": GATED | {"recipe": RECIPE | {"epochs": 2, "method": {"name": "gates", "penalty": 0.3}}},
            "pruned": {"of": "sparse", "prune": {"by": "gate"}},
            "tuned": {"of": "pruned"},
            "scratch-e": {"of": "pruned", "weights": "random"},
            "scratch-b": {"of": "pruned", "weights": "random", "budget": "macs"},
            "ticket": {"of": "pruned", "weights": "initial"},
        },
    },
    context={"paper": PAPER},
)


def seed_folder(runs: Path, arm: str) -> Path:
    return runs / NAME / arm / "seeds" / "0"


def starting(runs: Path, arm: str) -> ContinuedRun:
    return continued(PAPER, NAME, PROTOCOL, arm, 0, runs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose gates were trained."""
    folder = seed_folder(tmp_path_factory.mktemp("trained"), "sparse")
    train_run(ClassificationRun(PAPER, NAME, PROTOCOL, "sparse", 0), folder)
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """The same run with two gates closed by hand, as two epochs of digits do not close just some; and pruned."""
    folder = shutil.copytree(trained, seed_folder(tmp_path, "sparse"))
    record = read_json(folder / "run.json")
    state = load_weights(folder / "weights.safetensors", record["sha256"])
    for name in CLOSED:
        state[name].zero_()
    save_weights(folder / "weights.safetensors", state)
    write_json(folder / "run.json", record | {"sha256": sha256_file(folder / "weights.safetensors")})
    train_run(starting(tmp_path, "pruned"), seed_folder(tmp_path, "pruned"))
    return tmp_path


def test_a_chain_goes_on_without_gates(runs: Path) -> None:
    pruned = read_json(seed_folder(runs, "pruned") / "run.json")
    assert pruned["args"] == {"width": WIDTH, "gates": False, "branches": "1-0-1-1-1-1-0-1-1"}
    full = count(build(PAPER, "resnet20", {"width": WIDTH}, 10, 1), SPEC.shape)
    left = measured(runs, "pruned")
    assert left["macs"] < full.macs
    for arm in ("tuned", "scratch-e", "scratch-b", "ticket"):
        network = starting(runs, arm).build()
        assert not gated_blocks(network) and count(network, SPEC.shape).params == left["params"]
    assert starting(runs, "scratch-b").recipe.epochs == int(full.macs / left["macs"])
    untrained = ClassificationRun(PAPER, NAME, PROTOCOL, "sparse", 0).build().state_dict()
    for name, tensor in starting(runs, "ticket").build().state_dict().items():
        assert torch.equal(tensor, untrained[name]), name


def measured(runs: Path, arm: str) -> dict[str, float]:
    run, folder = starting(runs, arm), seed_folder(runs, arm)
    return run.evaluate(finished(run, folder)[1], folder)


def test_the_gates_that_are_open_are_counted(trained: Path) -> None:
    record = read_json(trained / "run.json")
    state = load_weights(trained / "weights.safetensors", record["sha256"])
    gates = [float(tensor) for name, tensor in state.items() if name.endswith(".gate")]
    assert len(gates) == 9 and all(abs(gate - 1) > 0.1 for gate in gates), "they were trained"
    told = ClassificationRun(PAPER, NAME, PROTOCOL, "sparse", 0)
    metrics = told.evaluate(finished(told, trained)[1], trained)
    assert metrics["open_gates"] == sum(gate != 0 for gate in gates) == record["curves"][-1]["test_open_gates"]


class Killed(RuntimeError):
    pass


def test_resumed_it_ends_bit_equal(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = ClassificationRun(PAPER, NAME, PROTOCOL, "sparse", 0), seed_folder(tmp_path, "sparse")

    def kill(_: pl.Callback, trainer: pl.Trainer, *__: Any) -> None:
        if trainer.current_epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("shared.training.fit.Curves.on_train_batch_end", kill, raising=False)
        with pytest.raises(Killed):
            train_run(run, folder)
    assert (folder / "resume.ckpt").exists()
    train_run(run, folder)
    once = read_json(trained / "run.json")
    assert read_json(folder / "run.json")["sha256"] == once["sha256"]


# Soft filters


def test_soft_filters_are_zero_at_the_end_before_the_evaluation_and_only_they(tmp_path: Path) -> None:
    soft = RECIPE | {"epochs": 2, "method": {"name": "soft-filters", "share": 0.3}}
    arms = {"soft": {"builder": "vgg16", "args": {"width": WIDTH}}}
    stated = {"what": "seconds", "data": "mnist5k", "recipe": soft, "trainer": {"accelerator": "cpu"}, "arms": arms}
    protocol = Protocol.model_validate(stated, context={"paper": PAPER})
    run, folder = ClassificationRun(PAPER, NAME, protocol, "soft", 0), seed_folder(tmp_path, "soft")
    train_run(run, folder)
    record, network = finished(run, folder)
    filters = {name: value.flatten(1) for name, value in network.state_dict().items() if value.dim() == 4}
    assert {name: int((value == 0).all(1).sum()) for name, value in filters.items()} == {
        name: int(0.3 * len(value)) for name, value in filters.items()
    }
    assert record["curves"][-1]["test_top1"] == run.evaluate(network, folder)["top1"], "the curve ends at the result"
