"""DenseNet against its formulas, and what its options must not change."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.densenet import DEFAULTS, MODELS
from papers.densenet.model import (
    DenseLayer,
    DenseNet,
    densenet,
    densenet_imagenet,
    layers_of,
    preact_resnet,
)
from shared.figures.maps import catch
from shared.ledger.counts import count_model
from tests.statistics import with_statistics


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("network", "expected"), [
    (dict(depth=40), 1_019_722), (dict(depth=40, stem=24), 1_059_298),
    (dict(depth=40, stem=24, classes=100), 1_100_428), (dict(depth=100, bottleneck=True, compression=0.5), 769_162),
])  # fmt: skip
def test_sizes(network: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        assert parameters(densenet(**network)) == expected


def by_hand(network: DenseNet, images: Tensor, layers: int, bottleneck: bool, prunable: bool) -> Tensor:
    """A network for small images with plain functions: H_l of the concatenation of all that was written before."""
    tensors = iter(tensor for name, tensor in network.state_dict().items() if "num_batches" not in name)

    def act(x: Tensor, selected: bool = prunable) -> Tensor:
        index = next(tensors) if selected else torch.arange(x.shape[1])
        scale, shift, mean, var = (next(tensors) for _ in range(4))
        normed = (x[:, index] - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
        return (normed * scale[:, None, None] + shift[:, None, None]).clamp(min=0)

    x = functional.conv2d(images, next(tensors), padding=1)
    for block in range(3):
        written = [x]
        for _ in range(layers):
            new = act(torch.cat(written, 1))
            if bottleneck:
                new = act(functional.conv2d(new, next(tensors)), selected=False)
            written.append(functional.conv2d(new, next(tensors), padding=1))
        x = act(torch.cat(written, 1))
        if block < 2:
            x = functional.avg_pool2d(functional.conv2d(x, next(tensors)), 2)
    return functional.linear(x.mean((2, 3)), next(tensors), next(tensors))


@pytest.mark.parametrize(("bottleneck", "compression"), [(False, 1.0), (True, 1.0), (False, 0.3), (True, 0.5)])
@pytest.mark.parametrize("memory_efficient", [False, True])
def test_the_network_is_its_formulas(bottleneck: bool, compression: float, memory_efficient: bool) -> None:
    torch.manual_seed(0)
    depth = 16 if bottleneck else 10
    network: Any = with_statistics(
        densenet(depth, 5, bottleneck, compression, dropout=0.2, memory_efficient=memory_efficient).double()
    )
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = by_hand(network, images, 2, bottleneck, prunable=False)
    assert expected.std() > 1e-2
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("widths", ["", "3-9-30-20-52-33-4-5-88"])
def test_a_network_that_can_be_pruned_is_its_formulas(widths: str) -> None:
    torch.manual_seed(0)
    network: Any = with_statistics(DenseNet(layers_of(10), growth=12, stem=16, widths=widths).double())
    for name, index in network.state_dict().items():
        if name.endswith(".index"):  # any channels, not only the first
            channels = network.get_submodule(name.removesuffix(".index")).channels
            index.copy_(torch.randperm(channels)[: len(index)].sort().values)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    with torch.inference_mode():
        expected = by_hand(network, images, 2, bottleneck=False, prunable=True)
        assert expected.std() > 1e-2
        torch.testing.assert_close(network(images), expected)


def test_computing_again_changes_no_output_no_gradient_and_no_statistic() -> None:
    torch.manual_seed(0)
    plain = densenet(22, 6, bottleneck=True, compression=0.5, dropout=0.3)
    again: Any = densenet(22, 6, bottleneck=True, compression=0.5, dropout=0.3, memory_efficient=True)
    again.load_state_dict(plain.state_dict())
    images = torch.randn(4, 3, 16, 16)
    outputs = []
    for network in (plain, again):
        for _ in range(2):  # statistics of the second step depend on those of the first
            torch.manual_seed(1)  # of the dropout
            outputs.append(network(images))
            loss = outputs[-1].square().sum()
            loss.backward(retain_graph=True)
            loss.backward()  # a second time through the same graph
    assert torch.equal(outputs[0], outputs[2]) and torch.equal(outputs[1], outputs[3])
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None and one.grad.any()
        torch.testing.assert_close(other.grad, one.grad)
    for one, other in zip(plain.buffers(), again.buffers(), strict=True):
        assert torch.equal(one, other)
    assert {norm.momentum for norm in again.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.1}


def test_timm_counts_a_batch_twice_where_it_computes_again(timm: Any) -> None:
    """What the text says of it; ours, above, does not."""
    from timm.models.densenet import DenseNet as Theirs

    network = Theirs(growth_rate=4, block_config=(2,), num_classes=3, memory_efficient=True).train()
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    assert int(network.features.denseblock1.denselayer2.norm1.num_batches_tracked) == 2


def test_a_block_writes_k_channels_a_layer_and_a_transition_keeps_theta_of_them() -> None:
    network: Any = densenet(22, 7, bottleneck=True, compression=0.5)
    layers = [layer for layer in network.features if isinstance(layer, DenseLayer)]
    widths = [output.shape[1] for output in catch(network, layers, torch.randn(1, 3, 8, 8))]
    assert widths == [21, 28, 35, 24, 31, 38, 26, 33, 40]  # 14, floor(35 / 2) = 17 and floor(38 / 2) = 19 enter


def test_dropout_stands_behind_every_convolution_but_the_first() -> None:
    network: Any = densenet(16, 4, bottleneck=True, compression=0.5, dropout=0.2)
    kinds = [type(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Dropout)]
    assert kinds == [nn.Conv2d] + [nn.Conv2d, nn.Dropout] * (2 * 6 + 2)


@pytest.mark.parametrize(("args", "channels"), [
    ({}, 16), ({"bottleneck": True}, 16), ({"compression": 0.5}, 16), ({"bottleneck": True, "compression": 0.5}, 24),
    ({"stem": 24}, 24),
])  # fmt: skip
def test_only_bc_has_a_stem_of_2k(args: dict[str, Any], channels: int) -> None:
    with torch.device("meta"):
        network: Any = densenet(40, **args)
    assert network.features[0].out_channels == channels


def test_networks_start_as_the_released_code_draws_them() -> None:
    torch.manual_seed(0)
    for network in (densenet(40), preact_resnet(29)):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 2000:
                expected = (2 / (layer.out_channels * layer.kernel_size[0] ** 2)) ** 0.5
                assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.1)
            if isinstance(layer, nn.Linear):
                assert not layer.bias.any() and layer.weight.any()


@pytest.mark.parametrize("name", ["densenet", "densenet121", "preact_resnet"])
def test_every_parameter_takes_part(name: str) -> None:
    torch.manual_seed(0)
    network = MODELS[name](classes=3, in_channels=1, **({"depth": 29} if name == "preact_resnet" else {})).train()
    size = min(DEFAULTS[name][0][1], 64)
    network(torch.randn(2, 1, size, size)).square().sum().backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label


@pytest.mark.parametrize(("wrong", "message"), [
    (dict(depth=41), r"depth must be 3 n \+ 4, not 41"), (dict(depth=4), r"depth must be 3 n \+ 4, not 4"),
    (dict(depth=43, bottleneck=True), r"depth must be 6 n \+ 4, not 43"), (dict(growth=0), "growth .* not 0"),
    (dict(stem=-1), "stem .* -1"), (dict(compression=0), "compression .* not 0"),
    (dict(compression=1.5), "compression .* not 1.5"), (dict(compression=0.001), "leaves a block without channels"),
    (dict(dropout=1), "dropout .* not 1"),
])  # fmt: skip
def test_what_makes_no_network_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        densenet(**wrong)


def test_a_depth_without_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="depth must be one of 121, 161, 169, 201, 264, not 100"):
        densenet_imagenet(100)


def test_imagenets_networks_keep_seven_by_seven_pixels_at_the_end() -> None:
    with torch.device("meta"):
        network: Any = densenet_imagenet(121)
        assert network.features(torch.empty(1, 3, 224, 224)).shape == (1, 1024, 7, 7)
    assert count_model("densenet", "densenet121", {}).params == 7_978_856


def test_a_copy_is_as_memory_efficient_as_its_original() -> None:
    network: Any = densenet(10, 4, memory_efficient=True)
    assert copy.deepcopy(network).features.memory_efficient
