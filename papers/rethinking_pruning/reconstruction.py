"""Channel pruning by reconstruction: what the next layer gives back without the channels decides, and is mended.

ThiNet (Luo et al., ICCV 2017, sections 3.2 and 3.3) and the regression of He, Zhang and Sun (ICCV 2017, section 3.1).
Both look at the one layer that reads the channels, its reader: at a place of its output the value without bias is a sum
over the channels c of X_c W_c, with the window X_c of the input and the weights W_c. They are solved here from sums
over the sampled places, X'X and X'Y in float64: no sample is kept. Memory goes with the square of the reader's weights
for one output.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from shared.compression.choose import Choice, per_layer
from shared.compression.surgery import masked, readers
from shared.errors import PapertrailError
from shared.layers.widths import prunable_norms

LOCATIONS = 10  # sampled places of an image, as many as ThiNet's experiments have, and those of He et al.
LEAST_PENALTY = 1e-5  # where the search of the LASSO begins, of the penalty that leaves no channel
BISECTIONS, SWEEPS, PRECISION = 20, 500, 1e-7
CUT = 1e-10  # eigenvalues of X'X below this share of the largest count as 0

Array = NDArray[np.float64]


def reconstruct(
    network: nn.Module,
    by: Literal["thinet", "regression"],
    ratio: float | Mapping[str, float],
    images: Sequence[Tensor],
    shape: tuple[int, int, int],
    seed: int,
) -> tuple[Choice, nn.Module]:
    """Choose channels layer by layer, in the order of `prunable`, and mend each reader before the next is looked at.

    "thinet" compares with the output of the network as it is by then, and gives each channel that stays one factor; at
    a sampled place all outputs of the reader count, where the paper draws one. "regression" compares with the output
    of the original network, and solves the weights of the channels that stay anew. A layer that loses nothing is left
    as it is, its reader too.

    What the papers do besides is left out: ThiNet tunes the network after each layer, and He et al. also correct what
    the shortcut beside a residual branch brings (section 3.3).

    Args:
        network: one with `prunable` layers; it stays as it is.
        by: the method.
        ratio: as `choose.per_layer` takes it; so are the counts of channels.
        images: batches (N, C, H, W) as the network takes them.
        shape: (C, H, W) of an image; it shows which layer reads which.
        seed: of the sampled places.

    Returns:
        The choice, and a copy in evaluation mode that is masked and has the mended weights, ready to be shrunk.

    Raises:
        UsageError: as `choose.per_layer`.
        PapertrailError: a layer cannot shrink, has no reader or several, one with groups, or one whose padding is not
            of zeros; there is no image; a value is not a finite number.
    """
    norms = prunable_norms(network)
    blank = per_layer({name: torch.zeros(norm.num_features) for name, norm in norms.items()}, ratio)
    losing = [name for name, mask in blank.keep.items() if not bool(mask.all())]
    found = {name: _one_reader(network, name, places) for name, places in readers(network, losing, shape).items()}
    original = copy.deepcopy(network).eval()
    twin = copy.deepcopy(network).eval()
    keep = dict(blank.keep)
    for name, (reader, columns) in found.items():
        target = twin if by == "thinet" else original
        squares, products = moments(twin, target, reader, images, seed)
        if not bool(squares.isfinite().all() and products.isfinite().all()):
            raise PapertrailError(f"{reader}: its input or output is not a finite number; did the training diverge?")
        mend = _thinet if by == "thinet" else _regression
        layer = twin.get_submodule(reader)
        keep[name] = mend(layer, columns, squares, products, int(blank.keep[name].sum()))
        masked(twin, {name: keep[name]})
    return Choice(keep, blank.floors), twin


def moments(
    network: nn.Module, target: nn.Module, reader: str, images: Sequence[Tensor], seed: int
) -> tuple[Tensor, Tensor]:
    """X'X (i, i) and X'Y (i, o) in float64 over sampled places of a layer's output, the same ones for the same seed.

    Args:
        network: whose inputs X of the layer are taken, (places, i = input channels x window).
        target: whose outputs Y, without the bias, are taken; a network of the same structure.
        reader: the name of the layer, a convolution without groups or a linear layer.
        images: batches (N, C, H, W).
        seed: of the places: of each image LOCATIONS different ones, or all when there are fewer.

    Raises:
        PapertrailError: there is no batch.
    """
    generator = torch.Generator().manual_seed(seed)
    layer: Any = target.get_submodule(reader)
    squares, products = torch.zeros(()), torch.zeros(())
    for batch in images:
        inputs, outputs = _at(network, reader, batch)
        if target is not network:
            outputs = _at(target, reader, batch)[1]
        maps = outputs.reshape(*outputs.shape[:2], -1)
        order = torch.rand(len(maps), maps.shape[2], generator=generator).argsort(1)
        places = order[:, :LOCATIONS]
        x = windows(layer, inputs, places, outputs.shape[-1]).double()
        y = maps.gather(2, places[:, None].expand(-1, maps.shape[1], -1)).transpose(1, 2).flatten(0, 1).double()
        if layer.bias is not None:
            y -= layer.bias.detach().double()
        squares, products = squares + x.T @ x, products + x.T @ y
    if not squares.dim():
        raise PapertrailError("reconstruction needs at least one batch of images")
    return squares, products


def windows(layer: nn.Module, inputs: Tensor, places: Tensor, width: int) -> Tensor:
    """What a layer sees at places of its output: (N * places, input channels x window), as its weight is flattened.

    Args:
        layer: a convolution or linear layer.
        inputs: (N, C, H, W), or (N, C) of a linear layer.
        places: (N, places) of the flattened output map.
        width: of that map.
    """
    if not isinstance(layer, nn.Conv2d):
        return inputs
    padding: Any = layer.padding  # `_one_reader` refuses what is no pair of numbers
    (down, right), (high, wide) = padding, layer.kernel_size
    padded = functional.pad(inputs, (right, right, down, down))
    rows = (places // width * layer.stride[0])[:, :, None] + torch.arange(high) * layer.dilation[0]
    across = (places % width * layer.stride[1])[:, :, None] + torch.arange(wide) * layer.dilation[1]
    image = torch.arange(len(inputs))[:, None, None, None]
    seen = padded.movedim(1, -1)[image, rows[..., :, None], across[..., None, :]]  # N, places, kernel, channels
    return seen.movedim(-1, 2).flatten(2).flatten(0, 1)


def greedy(gram: Array, count: int) -> list[int]:
    """The `count` channels to remove, one after the other (ThiNet, algorithm 1).

    Each is the one with which the sum over samples of (sum over the removed c of x_c)^2 grows least, the first one
    among equals.

    Args:
        gram: (channels, channels), the sums over samples of x_c x_d.
        count: how many.
    """
    cost = gram.diagonal().copy()
    removed: list[int] = []
    for _ in range(count):
        cost[removed] = np.inf
        removed.append(int(cost.argmin()))
        cost += 2 * gram[removed[-1]]
    return removed


def lasso(gram: Array, target: Array, penalty: float, start: Array) -> Array:
    """The beta (channels,) that minimises |y - sum of beta_c x_c|^2 / 2 + penalty |beta|_1, by coordinate descent.

    Args:
        gram: (channels, channels), the products of x_c and x_d.
        target: (channels,), the products of x_c and y.
        penalty: lambda, above 0.
        start: where the descent begins, (channels,).
    """
    beta = np.where(gram.diagonal() > 0, start, 0.0)
    live = np.flatnonzero(gram.diagonal() > 0)
    rest = target - gram @ beta
    for _ in range(SWEEPS):
        change = 0.0
        for c in live:
            own = rest[c] + gram[c, c] * beta[c]
            step = np.sign(own) * max(abs(own) - penalty, 0.0) / gram[c, c] - beta[c]
            if step:
                beta[c] += step
                rest -= gram[c] * step
                change = max(change, abs(step) * gram[c, c])
        if change <= PRECISION * penalty:
            break
    return beta


def select(gram: Array, target: Array, count: int) -> NDArray[np.bool_]:
    """Which `count` channels the LASSO keeps: (channels,) bool.

    The penalty doubles until no more than `count` have a beta, then it is narrowed down to just as many. Should
    channels only leave together, the places left go to those that were in under the largest penalty.
    """
    penalty = LEAST_PENALTY * float(np.abs(target).max())
    low, high = penalty, np.inf
    beta, best, last = np.ones_like(target), np.zeros_like(target), np.zeros_like(target)
    narrowed = 0
    while penalty > 0 and narrowed < BISECTIONS:
        beta = lasso(gram, target, penalty, beta)
        inside = beta != 0
        last[inside] = np.maximum(last[inside], penalty)
        if inside.sum() > count:
            low = penalty
        else:
            best, high = beta, penalty
        if inside.sum() == count or high <= low:
            break
        narrowed += bool(np.isfinite(high))
        penalty = 2 * penalty if np.isinf(high) else float(np.sqrt(low * high))
    kept = np.zeros(len(target), dtype=np.bool_)
    kept[np.lexsort((-gram.diagonal(), -last, best == 0))[:count]] = True
    return kept


def _thinet(layer: Any, columns: Tensor, squares: Tensor, _products: Tensor, count: int) -> Tensor:
    """Equations 5 to 7: remove greedily, then scale each channel that stays."""
    gram = _gram(layer, columns, squares)
    keep = torch.ones(len(columns), dtype=torch.bool)
    keep[greedy(gram.numpy(), len(columns) - count)] = False
    # Solved for what the factors differ from 1, so that a channel which is always 0 keeps its weights.
    factors = 1 + _least_squares(gram[keep][:, keep], gram[keep][:, ~keep].sum(1))
    with torch.no_grad():
        weight = layer.weight.flatten(1)
        weight[:, columns[keep].flatten()] *= factors.repeat_interleave(columns.shape[1]).to(weight)
        layer.weight.copy_(weight.view_as(layer.weight))
    return keep


def _regression(layer: Any, columns: Tensor, squares: Tensor, products: Tensor, count: int) -> Tensor:
    """Section 3.1: the LASSO chooses among the channels, then the weights of those that stay are solved."""
    weight = layer.weight.detach().flatten(1).double()
    others = torch.ones(weight.shape[1], dtype=torch.bool)
    others[columns.flatten()] = False  # of layers that are concatenated with this one
    products = products - squares[:, others] @ weight[:, others].T
    target = (products * weight.T)[columns].sum((1, 2))
    keep = torch.from_numpy(select(_gram(layer, columns, squares).numpy(), target.numpy(), count))
    # Solved for the change of the weights: where the samples leave a choice, the solution nearest to them is taken.
    own = columns[keep].flatten()
    change = _least_squares(squares[own][:, own], products[own] - squares[own][:, own] @ weight[:, own].T)
    weight[:, own] += change.T
    with torch.no_grad():
        layer.weight.copy_(weight.view_as(layer.weight))
    return keep


def _gram(layer: Any, columns: Tensor, squares: Tensor) -> Tensor:
    """(channels, channels): the products of X_c W_c and X_d W_d, summed over places and outputs."""
    weight, flat = layer.weight.detach().flatten(1).double()[:, columns.flatten()], columns.flatten()
    products = squares[flat][:, flat] * (weight.T @ weight)
    return products.view(*columns.shape, *columns.shape).sum((1, 3))


def _least_squares(squares: Tensor, products: Tensor) -> Tensor:
    """The smallest solution of the normal equations."""
    return torch.linalg.pinv(squares, rtol=CUT, hermitian=True) @ products


def _one_reader(network: nn.Module, norm: str, found: Mapping[str, list[list[int]]]) -> tuple[str, Tensor]:
    """The reader's name, and for each channel the columns of its flattened weight: (channels, columns)."""
    if len(found) != 1:
        names = " and ".join(found) or "no layer"
        raise PapertrailError(f"{norm}: {names} read its channels; reconstruction needs one reader; prune it otherwise")
    ((reader, places),) = found.items()
    layer: Any = network.get_submodule(reader)
    window = torch.arange(layer.weight[0, 0].numel())
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:
            raise PapertrailError(f"{norm}: {reader} reads its channels in groups; reconstruction cannot mend that")
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise PapertrailError(f"{norm}: the padding of {reader} is of a kind that reconstruction does not know")
    return reader, (torch.tensor(places)[:, :, None] * len(window) + window).flatten(1)


def _at(network: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """The input and output of a layer, copied: what follows may change them in place."""
    seen: list[Tensor] = []

    def hook(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.extend((inputs[0].clone(), output.clone()))

    handle = network.get_submodule(name).register_forward_hook(hook)
    try:
        with torch.no_grad():
            network(images)
    finally:
        handle.remove()
    inputs, output = seen
    return inputs.cpu(), output.cpu()
