"""Networks that can be pruned: `widths` and `prunable` say the same, and change nothing where nothing is pruned."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from papers.densenet.model import DenseNet, layers_of
from shared.baselines.mobilenet_v2 import MobileNetV2
from shared.baselines.preact_resnet import PreactResNet
from shared.baselines.resnet import ResNet
from shared.baselines.resnet import plain as resnet_plain
from shared.baselines.resnet_cifar import CifarResNet
from shared.baselines.vgg import VGG, plain
from shared.baselines.vgg_imagenet import ImageNetVGG
from shared.layers.select import ChannelSelect
from shared.layers.widths import prunable_norms
from tests.shared.compression.networks import widths_of

DENSE = functools.partial(DenseNet, growth=6, stem=8, widths="")
# A builder, and how many of its norms can lose channels.
NETWORKS: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "vgg11": (functools.partial(VGG, 11, width=0.25), 8),
    "vgg16 with a hidden layer": (functools.partial(VGG, 16, width=0.25, hidden=True, hidden_norm=True), 13),
    "vgg19": (functools.partial(VGG, 19, width=0.25), 16),
    "vgg11 of imagenet": (functools.partial(ImageNetVGG, 11, width=1 / 16), 10),
    "vgg16 of imagenet with dropout": (functools.partial(ImageNetVGG, 16, width=1 / 16, head="dropout"), 13),
    "vgg16 of imagenet with the mean": (functools.partial(ImageNetVGG, 16, width=1 / 16, head="pool"), 13),
    "preact_resnet20": (functools.partial(PreactResNet, 20, width=0.5), 19),
    "densenet22": (functools.partial(DENSE, layers_of(22)), 21),
    "densenet_bc40": (functools.partial(DENSE, layers_of(40, True), bottleneck=True, compression=0.5), 39),
    "resnet20": (functools.partial(CifarResNet, 20, width=0.5), 9),
    "resnet18": (functools.partial(ResNet, 18, width=0.25), 8),
    "resnet50": (functools.partial(ResNet, 50, width=0.25), 32),
    "mobilenet_v2": (functools.partial(MobileNetV2, 0.35), 17),
}


@pytest.fixture(params=NETWORKS)
def build(request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
    return NETWORKS[request.param][0]


def halved(network: nn.Module) -> str:
    """About half of every width, no two alike in their share."""
    counts = [norm.num_features for norm in prunable_norms(network).values()]
    return "-".join(str(max(1, count // 2 - place % 2)) for place, count in enumerate(counts))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_prunable_layer_is_named_once(name: str) -> None:
    build, expected = NETWORKS[name]
    with torch.device("meta"):
        names = list(prunable_norms(build()))
    assert len(names) == len(set(names)) == expected


def test_a_network_has_the_widths_that_it_is_built_with(build: Callable[..., nn.Module]) -> None:
    with torch.device("meta"):
        widths = halved(build())
        assert widths_of(build(widths=widths)) == widths


def test_the_full_widths_are_the_network_without_any(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    network = build()
    torch.manual_seed(0)
    spelt_out = build(widths=widths_of(network))
    for (name, one), (other, two) in zip(network.state_dict().items(), spelt_out.state_dict().items(), strict=True):
        assert name == other and torch.equal(one, two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda numbers: numbers[1:], "prunable layers"),
        (lambda numbers: [*numbers, "1"], "prunable layers"),
        (lambda numbers: ["0", *numbers[1:]], "number 1 of widths"),
        (lambda numbers: [*numbers[:-1], str(int(numbers[-1]) + 1)], "number .* of widths"),
    ],
)
def test_widths_that_do_not_fit_are_refused(
    build: Callable[..., nn.Module], change: Callable[[list[str]], list[str]], message: str
) -> None:
    with torch.device("meta"):
        numbers = widths_of(build()).split("-")
        with pytest.raises(ValueError, match=message):
            build(widths="-".join(change(numbers)))


def test_every_parameter_of_a_pruned_network_takes_part(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    network = build(widths=halved(build()), classes=3, in_channels=2)
    for layer in network.modules():
        if isinstance(layer, ChannelSelect):  # otherwise nothing reads what the last layers of a dense block write
            layer.index.copy_(torch.linspace(0, layer.channels - 1, len(layer.index)).long())
    logits = network(torch.randn(4, 2, 64, 64))
    assert logits.shape == (4, 3)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_layers_of_another_kind_are_not_offered_for_pruning() -> None:
    with torch.device("meta"):
        assert VGG(16, lambda before, after: plain(before, after)).prunable == ()
        assert ResNet(18, functools.partial(resnet_plain)).prunable == ()
        assert ImageNetVGG(16, norm=False, head="dropout", width=1 / 16).prunable == ()
