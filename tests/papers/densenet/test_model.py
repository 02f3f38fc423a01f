"""DenseNet against timm, which has the form with bottlenecks, and against its formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.baselines.densenet import DenseNet
from tests.statistics import with_statistics


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("network", "expected"), [
    (dict(depth=40), 1019722), (dict(depth=40, stem=24), 1059298), (dict(depth=40, stem=24, classes=100), 1100428),
    (dict(depth=100, stem=24, bc=True), 769162),
])  # fmt: skip
def test_sizes(network: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        assert parameters(DenseNet(**network)) == expected


def test_densenet_bc100_has_timms_size(timm: Any) -> None:
    """But for the stem: 7x7 with a norm there, 3x3 without one here."""
    from timm.models.densenet import DenseNet as Theirs

    with torch.device("meta"):
        theirs = Theirs(growth_rate=12, block_config=(16, 16, 16), num_classes=10)
        ours = DenseNet(100, stem=24, bc=True)
    assert parameters(ours) == parameters(theirs) - parameters(theirs.features[:3]) + 24 * 3 * 9


def test_equal_weights_give_timms_outputs(timm: Any) -> None:
    """DenseNet-BC-40; timm's stem for ImageNet, its first three layers, is left out."""
    torch.manual_seed(0)
    from timm.models.densenet import DenseNet as Theirs

    theirs = with_statistics(Theirs(growth_rate=12, block_config=(6, 6, 6), num_classes=10))
    body = theirs.features[3:]
    ours = with_statistics(DenseNet(40, stem=24, bc=True))
    state = ours.state_dict()
    mine = [name for name in state if not name.endswith(".index") and not name.startswith("features.0.")]
    values = [*body.state_dict().values(), theirs.classifier.weight, theirs.classifier.bias]
    ours.load_state_dict(state | dict(zip(mine, values, strict=True)))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = theirs.forward_head(body(ours.features[0](images)))
        assert expected.std() > 1e-2
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)


def by_hand(network: DenseNet, images: Tensor) -> Tensor:
    """DenseNet without bottlenecks, with plain functions: each layer reads chosen channels of all before it."""
    tensors = iter(tensor for name, tensor in network.state_dict().items() if "num_batches" not in name)

    def act(x: Tensor) -> Tensor:
        index, scale, shift, mean, var = (next(tensors) for _ in range(5))
        normed = (x[:, index] - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
        return (normed * scale[:, None, None] + shift[:, None, None]).clamp(min=0)

    x = functional.conv2d(images, next(tensors), padding=1)
    for block in range(3):
        for _ in range(2):
            x = torch.cat([x, functional.conv2d(act(x), next(tensors), padding=1)], 1)
        x = act(x)
        if block < 2:
            x = functional.avg_pool2d(functional.conv2d(x, next(tensors)), 2)
    return functional.linear(x.mean((2, 3)), next(tensors), next(tensors))


@pytest.mark.parametrize("widths", ["", "3-9-30-20-52-33-4-5-88"])
def test_the_network_is_its_formulas(widths: str) -> None:
    torch.manual_seed(0)
    network = with_statistics(DenseNet(10, widths=widths).double())
    for name, index in network.state_dict().items():
        if name.endswith(".index"):  # any channels, not only the first
            channels = network.get_submodule(name.removesuffix(".index")).channels
            index.copy_(torch.randperm(channels)[: len(index)].sort().values)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        expected = by_hand(network, images)
        assert expected.std() > 1e-2
        torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("wrong", [dict(depth=41), dict(depth=4), dict(depth=43, bc=True)])
def test_a_depth_that_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"the depth must be [36] n \+ 4"):
        DenseNet(**wrong)


def test_a_width_that_leaves_no_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no channel"):
        DenseNet(22, width=0.05)
