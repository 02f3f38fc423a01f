"""Feature maps: catching them in a network, drawing them, and fitting one from another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor, nn
from torch.nn import functional


def sample_picture(name: str, size: int) -> Tensor:
    """A photograph that scikit-learn ships ("china.jpg" or "flower.jpg"): its central square, size x size pixels.

    Returns:
        uint8 (3, size, size).
    """
    from PIL import Image
    from sklearn.datasets import load_sample_image

    photograph = Image.fromarray(load_sample_image(name))
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    box = (left, top, left + side, top + side)
    small = photograph.resize((size, size), Image.Resampling.BOX, box=box, reducing_gap=None)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)


def catch(model: nn.Module, modules: Sequence[nn.Module], images: Tensor) -> list[Tensor]:
    """The outputs of `modules` (parts of `model`) when `model` sees `images` in evaluation mode.

    Args:
        model: left in the mode it was in.
        modules: each must run once in a forward pass.
        images: float (N, C, H, W).

    Returns:
        The outputs in the order of `modules`.
    """
    caught: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: object, output: Tensor) -> None:
        caught[module] = output.detach().clone()  # a ReLU in place may follow

    hooks = [module.register_forward_hook(keep) for module in modules]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return [caught[module] for module in modules]


def show_maps(figure: Figure | SubFigure, maps: Tensor, titles: Sequence[str], *, columns: int = 8) -> None:
    """Draw each map of `maps` (C, H, W) in grey, stretched to its own range, under its title."""
    rows = math.ceil(len(maps) / columns)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, plane, title in zip(grid.flat, maps.numpy(), titles, strict=False):
        show_picture(axes, plane, title)


def show_picture(axes: Axes, picture: np.ndarray, title: str) -> None:
    """Draw one map (H, W) in grey or one picture (H, W, 3) in colour, without axes."""
    axes.imshow(picture, cmap="gray", interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, loc="center", pad=3)


def similar_pairs(maps: Tensor, count: int) -> list[tuple[int, int, float]]:
    """The `count` pairs of `maps` (C, H, W) with the highest absolute correlation, no map in two pairs.

    A map that is constant (a dead channel) belongs to no pair.

    Returns:
        (source, target, correlation), best first, source < target.
    """
    flat = maps.flatten(1).double()
    alive = [place for place in range(len(maps)) if float(flat[place].std()) > 0]
    pairs = [
        (one, other, float(torch.corrcoef(flat[[one, other]])[0, 1])) for one, other in itertools.combinations(alive, 2)
    ]
    chosen: list[tuple[int, int, float]] = []
    for pair in sorted(pairs, key=lambda pair: -abs(pair[2])):
        if not any({*pair[:2]} & {*taken[:2]} for taken in chosen):
            chosen.append(pair)
    return chosen[:count]


def fit_depthwise(source: Tensor, target: Tensor, size: int) -> Tensor:
    """The size x size kernel whose convolution of `source` comes nearest to `target` in squared error.

    Zero padding, stride 1, no bias: one channel of a depthwise convolution (GhostNet, table 2), by least squares.

    Args:
        source: (H, W).
        target: (H, W).
        size: odd.

    Returns:
        The kernel (size, size), float64.
    """
    shifted = _windows(source, size)
    return torch.linalg.lstsq(shifted, target.double().reshape(-1, 1), driver="gelsd").solution.reshape(size, size)


def fit_error(source: Tensor, target: Tensor, kernel: Tensor) -> float:
    """The mean squared error of `target` (H, W) against `source` (H, W) convolved with `kernel`."""
    made = _windows(source, len(kernel)) @ kernel.reshape(-1, 1).double()
    return float((made.flatten() - target.double().flatten()).square().mean())


def _windows(plane: Tensor, size: int) -> Tensor:
    """The size x size surroundings of each pixel, zeros beyond the border: (H * W, size * size), float64."""
    return functional.unfold(plane.double()[None, None], size, padding=size // 2)[0].T
