"""How the methods that the paper examines train and prune: soft filters, gates of branches, reconstruction.

Soft filter pruning is of He et al., IJCAI 2018; the gates are those of sparse structure selection, Huang and Wang,
ECCV 2018; ThiNet is of Luo et al., ICCV 2017, the regression of He, Zhang and Sun, ICCV 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from papers.rethinking_pruning.branches import folded, gated_blocks, open_branches, without_branches
from shared.errors import PapertrailError
from shared.training.method import Method
from shared.training.pruning import Decision, PaperPrune, Pruned
from shared.training.recipe import Fraction, NonNegative, Recipe

if TYPE_CHECKING:
    from shared.datasets import DatasetSpec

BATCHES = 16  # of training images, from which reconstruction samples


class SoftFilters(Method):
    """Zero, but go on training, what is smallest (soft filter pruning, algorithm 1).

    After every epoch int(`share` * filters) filters of each convolution, those with the smallest L2 norm, become zero.
    """

    name: Literal["soft-filters"]
    share: Fraction

    def suits(self, recipe: Recipe) -> None:
        """Averages of weights are never 0."""
        _last_weights(self, recipe)

    def after_epoch(self, network: nn.Module) -> None:
        """Set the smallest filters to zero."""
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                norms = layer.weight.detach().flatten(1).norm(dim=1)
                with torch.no_grad():
                    layer.weight[norms.argsort(stable=True)[: int(self.share * len(norms))]] = 0


class Gates(Method):
    """Trains the gates of branches by the accelerated proximal gradient (section 3.3, as its authors modify it).

    The penalty is `penalty` times the L1 norm of the gates, which take no weight decay. With the learning rate eta and
    the momentum mu of SGD, the gradient g and the soft threshold S, a step is (all right sides old)

        s = S(gate - eta g, eta penalty),  v' = s - gate + mu v,  gate' = s + mu v'.

    A gate whose gradient stays below the penalty comes to be exactly 0. The optimiser's own step passes over the gates;
    v is part of the optimiser's state. Under data parallelism g is the mean over all processes, as for any parameter.
    """

    capturable: ClassVar[bool] = True

    name: Literal["gates"]
    penalty: NonNegative
    _held: list[tuple[nn.Parameter, Tensor]] = PrivateAttr(default_factory=list)

    def suits(self, recipe: Recipe) -> None:
        """The step is one of SGD, and averages of gates are never 0."""
        if recipe.optimiser.name != "sgd":
            raise ValueError("the method `gates` needs the optimiser `sgd`")
        _last_weights(self, recipe)

    def attach(self, network: nn.Module) -> None:
        """PapertrailError when the network has no gates."""
        if not gated_blocks(network):
            raise PapertrailError("recipe.method: the network has no gates; give its builder `gates: true`")
        self._held.clear()

    def parameter_groups(self, network: nn.Module) -> list[tuple[list[str], dict[str, Any]]]:
        """The gates."""
        return [([f"{name}.gate" for name in gated_blocks(network)], {"weight_decay": 0.0, "gates": True})]

    def before_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """The optimiser passes over a parameter without a gradient."""
        for gate in _group(optimiser)["params"]:
            if gate.grad is not None:
                self._held.append((gate, gate.grad))
                gate.grad = None

    @torch.no_grad()
    def after_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """The proximal step."""
        group = _group(optimiser)
        rate, momentum = group["lr"], group["momentum"]
        while self._held:
            gate, gradient = self._held.pop()
            state = optimiser.state[gate]
            moved = gate - rate * gradient
            shrunk = moved.sign() * (moved.abs() - rate * self.penalty).clamp_min(0)
            speed = state.setdefault("momentum_buffer", torch.zeros_like(gate))
            speed.copy_(shrunk - gate + momentum * speed)
            gate.copy_(shrunk + momentum * speed)
            gate.grad = gradient

    def metrics(self, network: nn.Module) -> dict[str, float]:
        """The number of gates that are not 0."""
        return {"open_gates": sum(int(block.gate != 0) for block in gated_blocks(network).values())}


class ByGate(PaperPrune):
    """Branches go by their gates: those whose gate is 0, or the share `ratio` with the smallest ones."""

    by: Literal["gate"]

    def check(self) -> None:
        """Branches are no layers."""
        if isinstance(self.ratio, dict) or self.scope == "layer" or self.most is not None or self.shapes == "kept":
            raise ValueError("`by: gate` judges branches, not layers or channels: it takes a `ratio` or nothing")

    def decide(self, network: nn.Module, spec: DatasetSpec, seed: int) -> Decision:
        """See `branches.py`."""
        assert not isinstance(self.ratio, dict)
        stays = open_branches(network, self.ratio)
        branches = "-".join("1" if one else "0" for one in stays.values())

        def take(onto: nn.Module) -> Pruned:
            whole = folded(onto, stays)
            return Pruned({"gates": False, "branches": branches}, without_branches(whole, stays), whole)

        return take


class ByReconstruction(PaperPrune):
    """Layer by layer, what the next layer gives back decides, and its weights are mended; see `reconstruction.py`."""

    by: Literal["thinet", "regression"]

    def check(self) -> None:
        """It goes layer by layer, and takes channels away."""
        if self.ratio is None or self.scope == "global" or self.most is not None or self.shapes == "kept":
            raise ValueError(f"`by: {self.by}` goes layer by layer: it needs a `ratio` and `scope: layer`, and no more")

    def decide(self, network: nn.Module, spec: DatasetSpec, seed: int) -> Decision:
        """The weights of other networks are not mended."""
        from papers.rethinking_pruning.reconstruction import reconstruct
        from shared.compression.prune import batches, shrunk

        assert self.ratio is not None
        images = [images for images, _ in batches(spec, seed, BATCHES)]
        choice, mended = reconstruct(network, self.by, self.ratio, images, spec.shape, seed)
        take = shrunk(network, choice, spec)
        return lambda onto: take(mended if onto is network else onto)


def _group(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    return next(group for group in optimiser.param_groups if group.get("gates"))


def _last_weights(method: Method, recipe: Recipe) -> None:
    if getattr(recipe, "ema_decay", None) is not None:
        raise ValueError(f"the method `{method.name}` needs a recipe without `ema_decay`, whose averages are never 0")
