"""From a prunable layer back to what makes its channels, and by name why they cannot go."""

from __future__ import annotations

from collections.abc import Callable

from shared.compression.kinds import End, has_bias, is_depthwise, is_known, is_norm, mixes, size
from shared.compression.trace import Node, Trace, operation
from shared.errors import PapertrailError
from shared.layers.select import ChannelSelect
from shared.layers.shuffle import ChannelShuffle

SIDE_BY_SIDE = ("cat", "stack")
CHANNEL_BY_CHANNEL = ("add", "sub", "rsub", "mul", "div", "addcmul", "addcdiv", "lerp", "maximum", "minimum", "where")


def followed(trace: Trace, norm: str, dropped: list[int]) -> dict[End, list[int]]:
    """Which channels go at the ends of the layers from the one that makes them to the norm.

    They can go when one layer makes them, and all that read them stand behind the norm, where they are 0.

    Raises:
        PapertrailError: they cannot go, or cannot be followed.
    """
    starts = trace.made_by(norm)
    if not starts:
        raise _refusal(norm, "no gradient of the network's output reaches it (is it used, and not detached?)")
    behind = list(trace.readers(starts))
    lost, makers = _back(trace, norm, dropped)
    for node in (*behind, *trace.makers(_beside(trace, [*starts, *behind], lambda name: name not in SIDE_BY_SIDE))):
        _refuse_stranger(trace, norm, node)
    joined = trace.makers(_beside(trace, [*starts, *behind], lambda name: name in CHANNEL_BY_CHANNEL))
    makers += [node for node in joined if mixes(layer := trace.layer(node)) and size(layer, True) > 1]
    names = sorted({trace.calls[node] for node in makers})
    if not names:
        raise _refusal(norm, "no layer makes its channels")
    if len(names) > 1:
        raise _refusal(norm, f"its channels are those of {' and '.join(names)} together")
    for node in trace.readers(makers, stop=starts):
        if mixes(trace.layer(node)) or node in trace.ends:
            reader = trace.calls[node] if mixes(trace.layer(node)) else "the network's output"
            raise _refusal(norm, f"{reader} reads {names[0]} without it")
    if any(node in trace.ends and not mixes(trace.layer(node)) for node in (*starts, *behind)):
        raise _refusal(norm, "its channels are the network's output")
    for node in behind:
        layer = trace.layer(node)
        if is_norm(layer) or (is_depthwise(layer) and has_bias(layer)):
            raise _refusal(norm, f"{trace.calls[node]} behind it shifts what is zero")
        if isinstance(layer, ChannelSelect):
            raise _refusal(norm, f"{trace.calls[node]} selects among its channels")
    return lost


def _back(trace: Trace, norm: str, dropped: list[int]) -> tuple[dict[End, list[int]], list[Node]]:
    """The channels that go up to the layers that make them, and the nodes of those."""
    lost: dict[End, list[int]] = {(norm, True): dropped}
    makers: list[Node] = []
    todo = [(source, dropped) for node in trace.made_by(norm) for source in trace.before(node)]
    seen: set[Node] = set()
    while todo:
        node, places = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        _refuse_stranger(trace, norm, node)
        layer = trace.layer(node)
        if is_known(layer):
            name = trace.calls[node]
            made, own = size(layer, True), size(trace.layers[norm], True)
            if made != own:
                raise _refusal(norm, f"its {own} channels are not one by one the {made} of {name}")
            lost[name, True] = places
            if mixes(layer):
                makers.append(node)
                continue
            if isinstance(layer, ChannelShuffle):
                places = layer.index[places].tolist()
            lost[name, False] = places
        todo += [(source, places) for source in trace.before(node)]
    return lost, makers


def _beside(trace: Trace, nodes: list[Node], of: Callable[[str], bool]) -> list[Node]:
    """What operations of some names among the nodes read besides them."""
    operations, own = [node for node in nodes if node not in trace.calls and of(operation(node))], set(nodes)
    return [source for node in operations for source in trace.before(node) if source not in own]


def _refuse_stranger(trace: Trace, norm: str, node: Node) -> None:
    if stranger := trace.stranger(node, size(trace.layers[norm], True)):
        raise _refusal(norm, f"{stranger} has its channels and is of no known kind")


def _refusal(norm: str, reason: str) -> PapertrailError:
    return PapertrailError(f"{norm}: cannot shrink, since {reason}")
