"""Networks on noise, in evaluation mode: what they give, and by name what fails, whatever their forward does."""

from __future__ import annotations

import copy
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from shared.errors import PapertrailError

IMAGES = 3  # more than one, so that no norm and no forward can take the batch for something else
TORCH = Path(torch.__file__).parent


class ForwardError(PapertrailError):
    """A forward that fails: `module` is the innermost module that was running, `reason` the line and the error."""

    def __init__(self, module: str, reason: str) -> None:
        super().__init__(f"{module}: {reason}")
        self.module, self.reason = module, reason


def duplicate(network: nn.Module) -> nn.Module:
    """A copy on the CPU in evaluation mode; PapertrailError when it cannot be copied."""
    try:
        return copy.deepcopy(network).cpu().eval()
    except (RuntimeError, TypeError) as error:  # a tensor that was computed and stored, a lock, an open file
        raise PapertrailError(f"{type(network).__name__}: the network cannot be copied ({_first(error)})") from error


def noise(network: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    """(IMAGES, C, H, W) from N(0, 1), always the same, of the network's type."""
    images = torch.randn(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    kinds = (parameter.dtype for parameter in network.parameters() if parameter.is_floating_point())
    return images.to(next(kinds, images.dtype))


def outputs(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Every tensor that a network gives for images (N, C, H, W), also out of tuples and dictionaries.

    Raises:
        ForwardError: its forward fails, or gives no tensor.
    """
    running: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: running.append(name)

    def leave(*_: Any) -> None:
        running.pop()

    handles = [layer.register_forward_pre_hook(enter(name)) for name, layer in network.named_modules()]
    handles += [layer.register_forward_hook(leave) for layer in network.modules()]
    try:
        found = [leaf for leaf in tree_leaves(network(images)) if isinstance(leaf, Tensor)]
    except PapertrailError:
        raise
    except Exception as error:  # of a network of anyone's, so anything
        where = f" at {_line(error)}" if _line(error) else ""
        raise ForwardError(named(network, running[-1] if running else ""), f"fails{where}: {_first(error)}") from error
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ForwardError(named(network), "gives no tensor")
    return found


def named(network: nn.Module, module: str = "") -> str:
    """A module's name; that of its class for the network itself."""
    return module or type(network).__name__


def _line(error: Exception) -> str:
    """Where the last line outside of torch stands, and what it says."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if TORCH not in Path(frame.filename).parents]
    frame = frames[-1]  # the first one is ours
    return (
        ""
        if frame.filename == __file__
        else f"{Path(frame.filename).name}:{frame.lineno} `{textwrap.shorten(frame.line or '', 100)}`"
    )


def _first(error: Exception) -> str:
    return textwrap.shorten((str(error).strip() or type(error).__name__).splitlines()[0].rstrip("."), 200)
