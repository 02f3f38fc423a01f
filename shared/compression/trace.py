"""Which layers and operations of a network follow which: autograd's graph of one forward pass without values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from shared.compression.kinds import is_known, mixes
from shared.compression.probe import ForwardError, duplicate, noise, outputs
from shared.errors import PapertrailError

Node = Any  # of autograd's graph: the operation that made a tensor


class Trace:
    """The graph of a network for images of `shape` (C, H, W).

    The inner operations of a layer are left out: the node of its output follows that of its input.

    Attributes:
        layers: the modules by name.
        calls: by the node of a layer's output, the layer's name; a layer that is used twice has two.
        ends: the nodes of what the network gives.

    Raises:
        PapertrailError: its forward fails, or does not run without values, because it looks at them.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int]) -> None:
        twin = duplicate(network).to("meta")
        self.layers: dict[str, Any] = dict(network.named_modules())
        self._parameters = {parameter: name for name, parameter in twin.named_parameters()}
        for parameter in self._parameters:
            parameter.requires_grad_(parameter.is_floating_point())
        self.calls: dict[Node, str] = {}
        self._inputs: dict[Node, Node] = {}
        for name, layer in twin.named_modules():
            if is_known(layer) or (list(layer.parameters()) and not list(layer.children())):
                self._record(name, layer)
        with torch.enable_grad():
            images = noise(twin, shape).to("meta").requires_grad_().clone()  # not a leaf, so it can be changed in place
            self._images: Node = images.grad_fn
            try:
                found = outputs(twin, images)
            except ForwardError as error:
                outputs(duplicate(network), noise(network, shape))  # says more where it fails with values, too
                raise PapertrailError(f"{error}; pruning follows a forward by shapes alone, without values") from error
        self.ends = {tensor.grad_fn for tensor in found if tensor.grad_fn is not None}
        self._followers: dict[Node, list[Node]] = {}
        todo = list(self.ends)
        while todo:
            node = todo.pop()
            if node not in self._followers:
                self._followers[node] = []
                todo += self.before(node)
        for node in self._followers:
            for source in self.before(node):
                self._followers[source].append(node)

    def _record(self, name: str, layer: nn.Module) -> None:
        sources: list[Node] = []

        def enter(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            sources.append(tensors[0].grad_fn if len(tensors) == 1 else None)

        def leave(_layer: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            source = sources.pop()
            if source is not None and isinstance(output, Tensor) and output.grad_fn is not None:
                self.calls[output.grad_fn] = name
                self._inputs[output.grad_fn] = source

        layer.register_forward_pre_hook(enter, with_kwargs=True)
        layer.register_forward_hook(leave)

    def before(self, node: Node) -> list[Node]:
        """The nodes whose tensors an operation or layer reads."""
        if node in self._inputs:
            return [self._inputs[node]]
        if node is self._images:
            return []
        return [source for source, _ in node.next_functions if source is not None]

    def made_by(self, layer: str) -> list[Node]:
        """The nodes of a layer's outputs that the network's output depends on."""
        return [node for node in self._followers if self.calls.get(node) == layer]

    def read_by(self, layer: str) -> list[Node]:
        """The nodes of a layer's inputs."""
        return [source for node in self.made_by(layer) for source in self.before(node)]

    def layer(self, node: Node) -> Any:
        """The layer whose output a node made; None for an operation."""
        return self.layers[self.calls[node]] if node in self.calls else None

    def readers(self, nodes: Iterable[Node], stop: Iterable[Node] = ()) -> Iterator[Node]:
        """What reads the channels of `nodes`, up to and with the layers that mix them, but not past `stop`."""
        followers = [follower for node in nodes for follower in self._followers[node]]
        return self._unmixed(followers, self._followers.__getitem__, stop)

    def makers(self, nodes: Iterable[Node]) -> Iterator[Node]:
        """What the tensors of `nodes` were made by, themselves and back to the layers that mix channels."""
        return self._unmixed(nodes, self.before)

    def _unmixed(
        self, nodes: Iterable[Node], beyond: Callable[[Node], list[Node]], stop: Iterable[Node] = ()
    ) -> Iterator[Node]:
        """`nodes`, and what is `beyond` each of them, up to and with the layers that mix channels."""
        todo, seen = list(nodes), set(stop)
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                yield node
                if not mixes(self.layer(node)):
                    todo += beyond(node)

    def stranger(self, node: Node, channels: int) -> str | None:
        """The layer of no known kind, or the parameter outside of one, that a node stands for and that has channels."""
        if node not in self.calls:
            parameter = getattr(node, "variable", None)
            return self._parameters.get(parameter) if parameter is not None and channels in parameter.shape else None
        layer = self.layer(node)
        known = is_known(layer) or all(channels not in parameter.shape for parameter in layer.parameters())
        return None if known else self.calls[node]

    def operations(self, layer: str) -> str:
        """The operations between a layer's input and the layers before it, the last one first: "cat, relu"."""
        nodes = list(dict.fromkeys(self.read_by(layer)))
        for node in nodes:  # it grows
            if node not in self.calls:
                nodes += [source for source in self.before(node) if source not in nodes]
        names = (operation(node) for node in nodes if node not in self.calls and self.before(node))
        return ", ".join(dict.fromkeys(names))


def operation(node: Node) -> str:
    """The name of an operation: "cat" for CatBackward0."""
    return re.sub(r"Backward\d*$", "", node.name()).lower()
