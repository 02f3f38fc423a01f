"""Networks of anyone's: surgery ends with the masked network's function, or with the name of what stands in its way."""

from __future__ import annotations

import copy
import re
import types
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from shared.compression import importance
from shared.compression.masks import live_cost
from shared.compression.prune import prune
from shared.compression.surgery import masked, shrink
from shared.errors import PapertrailError
from shared.training.pruning import Decision, PaperPrune, Prune, Pruned
from tests.shared.compression.networks import settled
from tests.shared.compression.own_networks import CASES, SHAPE, WIDTH, Body, Built, Own


@pytest.mark.parametrize("name", CASES)
def test_right_or_refused_by_name(name: str) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    network = settled(Own(case))
    keep = {norm: torch.ones(len(network.get_parameter(f"{norm}.weight")), dtype=torch.bool) for norm in case.prunable}
    for mask in keep.values():
        mask[list(case.drop)] = False
    if case.refused:
        with pytest.raises(PapertrailError, match=case.refused) as caught:
            shrink(network, keep, SHAPE)
        assert len(str(caught.value).splitlines()) == 1 and re.match(r"[\w.]+( and [\w.]+)?: ", str(caught.value))
        return
    small = Own(case, WIDTH - len(case.drop))
    small.load_state_dict(shrink(network, keep, SHAPE), strict=True)
    whole = copy.deepcopy(network)
    masked(whole, keep)
    for seed in (0, 1):
        images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(seed)).to(case.dtype)
        with torch.no_grad():
            wanted, found = (of.to(case.dtype).eval()(images.clone()) for of in (whole, small))
        error = 1e-9 if case.dtype == torch.float64 else 1e-4
        torch.testing.assert_close(found, wanted, rtol=error, atol=error)


SPEC: Any = types.SimpleNamespace(shape=SHAPE)
PRUNES = {
    "scale": {"by": "scale", "ratio": 0.4},
    "filters": {"by": "l1", "ratio": 0.3, "scope": "layer"},
    "random": {"by": "random", "ratio": 0.4},
    "in place": {"by": "scale", "ratio": 0.4, "shapes": "kept"},
    "weights": {"by": "magnitude", "ratio": 0.4},
}


def swapped(m: Any, x: Tensor) -> Tensor:
    """What asks for the widths that the network was built with."""
    left, right = x.split(m.widths, 1)
    return torch.cat([left, 2 * right], 1)


def by(name: str) -> Prune:
    return Prune.model_validate(PRUNES[name])


@pytest.mark.parametrize("how", PRUNES)
def test_a_forward_may_have_the_widths_that_its_builder_got(how: str) -> None:
    torch.manual_seed(0)
    network = settled(Built(swapped))
    pruned, small = prune(network, by(how), SPEC, 0, lambda changed: Built(swapped, **changed))
    assert ("widths" in pruned.args) == (how not in ("in place", "weights"))
    images = torch.randn(2, *SHAPE, dtype=torch.float64)
    with torch.no_grad():
        found, wanted, before = (of.double().eval()(images) for of in (small, pruned.whole, network))
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(wanted, before)


@pytest.mark.parametrize(
    ("body", "follows", "message"),
    [
        (lambda m, x: x / sum(m.widths), True, r"head: .* something else .*behind div, cat"),
        (lambda m, x: x + 0 * sum(m.widths), False, r"the pruned weights: `left\.0\.weight` has the shape"),
        (lambda m, x: x.roll(m.widths[0], 1), True, r"head: .* something else .*behind roll, cat"),
    ],
)
def test_what_the_builder_makes_of_the_widths_is_compared_too(body: Body, follows: bool, message: str) -> None:
    torch.manual_seed(0)
    network = settled(Built(body))
    with pytest.raises(PapertrailError, match=message):
        prune(network, by("scale"), SPEC, 0, lambda changed: Built(body, **(changed if follows else {})))


@pytest.mark.parametrize("how", PRUNES)
def test_every_way_of_pruning_is_compared(how: str) -> None:
    network = settled(Built(swapped))

    def broken(changed: dict[str, Any]) -> nn.Module:
        small = Built(swapped, **changed)
        small.head.register_forward_hook(lambda _layer, _inputs, output: 1.01 * output)
        return small

    with pytest.raises(PapertrailError, match=r"head: .* something else"):
        prune(network, by(how), SPEC, 0, broken)


class Halved(PaperPrune):
    """A paper's own rule, which forgets something."""

    by: Literal["halved"]

    def decide(self, network: nn.Module, spec: Any, seed: int) -> Decision:
        state = {name: tensor / 2 for name, tensor in network.state_dict().items()}
        return lambda onto: Pruned({}, state, onto)


def test_a_papers_own_rule_is_compared_too() -> None:
    with pytest.raises(PapertrailError, match="without the pruned part"):
        prune(Built(swapped), Halved(by="halved", ratio=0.5), SPEC, 0, lambda changed: Built(swapped, **changed))


def test_weights_that_are_computed_cannot_be_pruned() -> None:
    network = Built(swapped)
    nn.utils.parametrizations.weight_norm(network.head)
    with pytest.raises(PapertrailError, match=r"head\.weight: computed from other tensors"):
        prune(network, by("weights"), SPEC, 0, lambda changed: Built(swapped, **changed))
    network = Built(swapped)
    nn.utils.parametrizations.weight_norm(network.left[1])
    with pytest.raises(PapertrailError, match=r"left\.1\.weight: computed from other tensors"):
        prune(network, by("in place"), SPEC, 0, lambda changed: Built(swapped, **changed))


def test_importance_and_cost_of_anyones_networks() -> None:
    torch.manual_seed(0)
    network = Own(CASES["values decide"])
    for measured in (lambda: importance.filter_norm(network, SHAPE, 1), lambda: live_cost(network, SHAPE)):
        with pytest.raises(PapertrailError, match=r"Own: fails at|cannot be counted"):
            measured()
    with pytest.raises(PapertrailError, match="norm: no convolution or linear layer stands right before"):
        importance.makers(Own(CASES["layer scale before"]), SHAPE)
    shared = Own(CASES["tied weights"])
    nn.init.zeros_(shared.head.weight)
    whole = sum(parameter.numel() for parameter in shared.parameters())
    assert live_cost(shared, SHAPE)[0] == whole - shared.head.weight.numel()
