"""What the operators of a forward pass multiply, seen as PyTorch executes them, whoever calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from shared.errors import PapertrailError


def _convolution(x: Tensor, weight: Tensor, *rest: Any, output: Tensor) -> int:
    transposed = rest[4]  # after bias, stride, padding and dilation
    elements = x.numel() if transposed else output.numel()  # transposed, each input meets each tap, whatever the stride
    return elements * weight[0].numel()


def _product(left: Tensor, right: Tensor, output: Tensor) -> int:
    return output.numel() * left.shape[-1]


def _sum_of_product(start: Tensor, left: Tensor, right: Tensor, output: Tensor, **scales: float) -> int:
    return output.numel() * left.shape[-1]


def _affine_grid(theta: Tensor, *_: Any, output: Tensor) -> int:
    return output.numel() * theta.shape[-1]


# The multiply-adds of an operator of PyTorch, from its arguments and its output. The others are made of these.
RULES: dict[str, Callable[..., int]] = {
    "convolution": _convolution,
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), _product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _sum_of_product),
    "affine_grid_generator": _affine_grid,
}
# Words in the names of operators that multiply and add: one without a rule is refused. Norms of vectors do not count.
_MULTIPLY = {
    "mm", "bmm", "addmm", "addbmm", "baddbmm", "hspmm", "sspaddmm", "matmul", "linear", "trilinear", "linalg",
    "mv", "addmv", "addr", "dot", "vdot", "cdist", "pdist", "euclidean", "cholesky", "solve", "ormqr", "geqrf", "fft",
    "smm", "spsolve", "bag",
    "conv", "conv2d", "conv3d", "convolution", "attention", "head", "transformer", "rnn", "lstm", "gru",
}  # fmt: skip
# Operators on a product of elements: those that sum it, that change its values by a scale alone, or its shape alone.
_SUMS = {"sum", "nansum"}
_KEEP = {"clone", "_to_copy", "neg", "mul", "div"}
_RESHAPE = {"view", "_unsafe_view"}


class Operators(TorchDispatchMode):
    """Adds up, over every operator that is executed within it, what multiplies.

    Attributes:
        macs: multiply-adds.
        adder_taps: what the layers with a method `adder_taps(output)` say; the operators that they call do not count.
        activations: output elements of what was counted.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.macs = self.adder_taps = self.activations = 0
        self._inside: list[nn.Module] = []
        self._names = {layer: name for name, layer in network.named_modules()}
        self._factors = WeakTensorKeyDictionary()  # of each product of elements, in its shape, until it is gone
        for layer in network.modules():
            layer.register_forward_pre_hook(self._enter)
            layer.register_forward_hook(self._leave)

    @property
    def where(self) -> str:
        """The innermost layer that is being executed: its name and its class."""
        layer = self._inside[-1]
        return f"{self._names[layer] or 'the network'} ({type(layer).__name__})"

    def _enter(self, layer: nn.Module, _: Any) -> None:
        self._inside.append(layer)

    def _leave(self, layer: Any, _: Any, output: Tensor) -> None:
        self._inside.pop()
        if hasattr(layer, "adder_taps"):
            self.adder_taps += layer.adder_taps(output)
            self.activations += output.numel()

    def __torch_dispatch__(self, operator: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Execute the operator, and count it."""
        kwargs = kwargs or {}
        library, _, name = operator.name().partition("::")
        name = name.partition(".")[0].rstrip("_")  # neither the overload, nor the mark of one that works in place
        if name not in RULES:
            with self:
                output = operator.decompose(*args, **kwargs)  # under inference_mode the operators arrive whole
            if output is not NotImplemented:
                return output
        output = operator(*args, **kwargs)
        if any(hasattr(layer, "adder_taps") for layer in self._inside):
            return output
        if name in RULES:
            self._add(RULES[name](*args, **kwargs, output=output), output)
        elif library not in ("aten", "prim", "profiler") or (_MULTIPLY & {*name.split("_")} and "norm" not in name):
            raise PapertrailError(
                f"{self.where} calls {operator.name()}, which has no rule in shared/measure/operators.py: its "
                "multiply-adds are not known, so the network cannot be counted"
            )
        elif name == "mul" and isinstance(args[1], Tensor) and args[0] is not args[1]:  # a square is part of a norm
            factors = [factor for arg in args for factor in self._factors.get(arg, [arg])]
            self._factors[output] = [factor.expand(output.shape) for factor in factors]
        elif args and isinstance(args[0], Tensor) and args[0] in self._factors:
            self._follow(operator, name, args, kwargs, output)
        return output

    def _follow(self, operator: Any, name: str, args: Any, kwargs: Any, output: Any) -> None:
        """What is done with a product of elements: it is summed, scaled, or seen in another shape."""
        factors = self._factors[args[0]]
        if name in _SUMS:
            over = args[1] if args[1:] and args[1] else range(args[0].dim())
            if sum(any(map(factor.stride, over)) for factor in factors) > 1:  # 0 where a factor is the same for all
                self._add(args[0].numel(), output)
        elif name in _KEEP:
            self._factors[output] = [factor.expand(output.shape) for factor in factors]
        elif name in _RESHAPE and output.numel() == args[0].numel():
            self._factors[output] = [factor.reshape(output.shape) for factor in factors]
        elif operator.is_view:
            views = [operator(factor, *args[1:], **kwargs) for factor in factors]
            parts = [(output, *views)] if isinstance(output, Tensor) else zip(output, *views, strict=True)
            self._factors.update({part: seen for part, *seen in parts})
        elif output is args[0]:  # no product any more
            del self._factors[output]

    def _add(self, macs: int, output: Tensor) -> None:
        self.macs += macs
        self.activations += output.numel()
