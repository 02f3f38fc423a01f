from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PrivateAttr
from torch import nn

from shared.errors import PapertrailError
from shared.training.method import Method
from shared.training.optim import build_optimiser, learning_rate_factor, make_capturable, plain
from shared.training.recipe import LayerDecay, Optimiser, Schedule


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def decay_by_name(spec: Optimiser) -> dict[str, float]:
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optimiser(model, spec).param_groups
    return {names[id(parameter)]: group["weight_decay"] for group in groups for parameter in group["params"]}


def test_weight_decay_spares_what_the_recipe_spares() -> None:
    spec = Optimiser(name="sgd", lr=0.1, weight_decay=1e-4, spare=("norm", "bias", "3.w*"))
    assert decay_by_name(spec) == {
        "0.weight": 1e-4, "0.bias": 0, "1.weight": 0, "1.bias": 0, "3.weight": 0, "3.bias": 0,
    }  # fmt: skip
    everything = decay_by_name(Optimiser(name="adamw", lr=0.1, weight_decay=0.05))
    assert set(everything.values()) == {0.05} and len(everything) == 6


def test_a_pattern_that_meets_nothing_is_an_error() -> None:
    with pytest.raises(PapertrailError, match=r"\*\.cheap\.\*"):
        build_optimiser(network(), Optimiser(name="sgd", lr=0.1, spare=("*.cheap.*",)))


@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        (Optimiser(name="sgd", lr=0.1, momentum=0.9, nesterov=True), torch.optim.SGD),
        (Optimiser(name="adamw", lr=0.1), torch.optim.AdamW),
        (Optimiser(name="rmsprop", lr=0.1, momentum=0.9, alpha=0.9, eps=1e-3), torch.optim.RMSprop),
    ],
)
def test_the_named_optimiser_is_built_with_its_values(spec: Optimiser, reference: type) -> None:
    optimiser = build_optimiser(network(), spec)
    assert type(optimiser) is reference
    for key in ("momentum", "nesterov", "alpha", "eps", "betas", "lr"):
        if key in optimiser.defaults:
            assert optimiser.defaults[key] == getattr(spec, key)


def test_schedules_have_their_known_values() -> None:
    def at(spec: Schedule, *steps: int) -> list[float]:
        return [learning_rate_factor(spec, step, steps_per_epoch=10, total_steps=100) for step in steps]

    assert at(Schedule(name="cosine"), 0, 50, 100) == pytest.approx([1, 0.5, 0])
    assert at(Schedule(name="linear"), 0, 25, 100) == pytest.approx([1, 0.75, 0])
    assert at(Schedule(name="step", every=3, gamma=0.5), 29, 30, 60) == pytest.approx([1, 0.5, 0.25])
    multistep = Schedule(name="multistep", milestones=(32, 48), unit="step")
    assert at(multistep, 31, 32, 47, 48) == pytest.approx([1, 0.1, 0.1, 0.01])
    warm = Schedule(name="cosine", warmup_epochs=2, warmup_from=0.25)
    assert at(warm, 0, 10, 20, 60) == pytest.approx([0.25, 0.625, 1, 0.5])
    # torch's own cosine schedule is the reference for the whole curve.
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=100)
    for step in range(100):
        assert math.isclose(at(Schedule(name="cosine"), step)[0], theirs.get_last_lr()[0], abs_tol=1e-9)
        optimiser.step()
        theirs.step()


@given(
    name=st.sampled_from(["constant", "cosine", "linear"]),
    warmup=st.floats(0, 5),
    step=st.integers(0, 200),
    total=st.integers(60, 200),
)
def test_the_factor_stays_between_nought_and_one(name: str, warmup: float, step: int, total: int) -> None:
    spec = Schedule(name=name, warmup_epochs=warmup)  # type: ignore[arg-type]
    assert 0 <= learning_rate_factor(spec, step, steps_per_epoch=10, total_steps=total) <= 1


def test_layers_learn_the_slower_the_nearer_they_are_to_the_input() -> None:
    block = [nn.Linear(2, 2), nn.BatchNorm1d(2)]
    model = nn.ModuleDict(
        {
            "stem": nn.Linear(2, 2),
            "blocks": nn.ModuleList([nn.Sequential(*block), nn.Linear(2, 2)]),
            "head": nn.Linear(2, 2),
        }
    )
    spec = Optimiser(
        name="adamw", lr=0.1, weight_decay=0.05, spare=("norm",), layer_decay=LayerDecay(rate=0.5, blocks="blocks.*")
    )
    groups = build_optimiser(model, spec).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(one)]: (group["lr"], group["weight_decay"]) for group in groups for one in group["params"]}
    rates = {"stem": 0.0125, "blocks.0": 0.025, "blocks.1": 0.05, "head": 0.1}
    assert {name: rate for name, (rate, _) in found.items()} == {
        name: next(rate for start, rate in rates.items() if name.startswith(f"{start}.")) for name in names.values()
    }
    assert {name for name, (_, decay) in found.items() if not decay} == {"blocks.0.1.weight", "blocks.0.1.bias"}
    assert groups[0]["lr"] == 0.1, "curves show the rate of the recipe"
    lost = spec.model_copy(update={"layer_decay": LayerDecay(rate=0.5, blocks="layers.*")})
    with pytest.raises(PapertrailError, match=r"layer_decay\.blocks: `layers\.\*` meets no block"):
        build_optimiser(model, lost)


def test_a_group_of_blocks_learns_at_one_rate() -> None:
    model = nn.ModuleDict({"stem": nn.Linear(2, 2), "blocks": nn.ModuleList(nn.Linear(2, 2) for _ in range(5))})
    decay = LayerDecay(rate=0.5, blocks="blocks.*", group=2)
    groups = build_optimiser(model, Optimiser(name="adamw", lr=0.8, layer_decay=decay)).param_groups
    rates = {id(one): group["lr"] for group in groups for one in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters() if name.endswith("weight")}
    assert list(found.values()) == [0.05, 0.1, 0.1, 0.2, 0.2, 0.4]


class Halved(Method):
    """Halves every gradient, counts the steps, and keeps one parameter to itself."""

    name: str = "halved"
    _steps: list[float] = PrivateAttr(default_factory=list)

    def parameter_groups(self, network: nn.Module) -> list[tuple[list[str], dict[str, Any]]]:
        return [(["bias"], {"weight_decay": 0.0, "own": True})]

    def before_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(0.5)

    def after_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self._steps.append(float(network.get_parameter("bias")))


@pytest.mark.parametrize("closure", [False, True])
def test_a_method_acts_between_the_gradients_and_the_step(closure: bool) -> None:
    """Lightning hands the step a closure that makes the gradients: the method must come after it, not before."""
    layer, method = nn.Linear(3, 1), Halved()
    optimiser = build_optimiser(layer, Optimiser(name="sgd", lr=0.5, weight_decay=0.1), method)
    assert [(len(group["params"]), group["weight_decay"]) for group in optimiser.param_groups] == [(1, 0.1), (1, 0.0)]

    def backward() -> torch.Tensor:
        optimiser.zero_grad()
        loss = layer(torch.ones(1, 3)).sum()
        loss.backward()
        return loss

    began = float(layer.bias)
    for number in range(2):  # the second step has gradients of the first lying about
        if closure:
            optimiser.step(backward)  # type: ignore[arg-type]
        else:
            backward()
            optimiser.step()
        assert float(layer.bias) == pytest.approx(began - 0.25 * (number + 1))
    assert method._steps == pytest.approx([began - 0.25, began - 0.5])


def test_a_method_acts_in_lightnings_step_too() -> None:
    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return build_optimiser(self.layer, Optimiser(name="sgd", lr=0.5), Halved())

        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            return self.layer(batch).sum()

    module = Module()
    before = module.layer.weight.detach().clone()
    trainer = pl.Trainer(
        max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(1, 3), batch_size=1))
    assert torch.allclose(module.layer.weight.detach(), before - 0.25)


@pytest.mark.parametrize(("name", "key"), [("sgd", "fused"), ("adamw", "capturable"), ("rmsprop", "capturable")])
def test_a_schedule_fills_the_rate_that_a_graph_reads(name: Literal["sgd", "adamw", "rmsprop"], key: str) -> None:
    layer = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    optimiser = build_optimiser(layer, Optimiser(name=name, lr=0.5, weight_decay=0.1, spare=("norm",)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))
    before = optimiser.state_dict()["param_groups"]
    make_capturable(optimiser)
    groups = optimiser.param_groups
    assert len(groups) == 2 and all(group[key] for group in groups)
    rates = [group["lr"] for group in groups]
    optimiser._opt_called = True  # type: ignore[attr-defined]  # no step is made here
    schedule.step()
    assert [float(rate) for rate in rates] == [0.25, 0.25] and groups[0]["lr"] is rates[0]
    saved = optimiser.state_dict()["param_groups"]
    plain(saved)
    assert saved == [group | {"lr": 0.25} for group in before] and groups[0]["lr"] is rates[0]
