"""VGG in its forms, against timm and the published sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from shared.baselines.vgg import STAGES, VGG
from shared.baselines.vgg_imagenet import ImageNetVGG
from tests.statistics import with_statistics


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def without_norm_and_bias(depth: int, norms: bool) -> int:
    """What timm's VGG has less when its convolutions in front of a norm lose their bias."""
    return sum(sum(stage) for stage in STAGES[depth]) if norms else 0


@pytest.mark.parametrize("depth", [11, 16, 19])
@pytest.mark.parametrize("norm", [True, False])
def test_imagenet_networks_have_timms_sizes(depth: int, norm: bool, timm: Any) -> None:
    with torch.device("meta"):
        theirs = parameters(timm.create_model(f"vgg{depth}_bn" if norm else f"vgg{depth}"))
        ours = parameters(ImageNetVGG(depth, norm=norm, head="dropout"))
    assert ours == theirs - without_norm_and_bias(depth, norm)


@pytest.mark.parametrize("norm", [True, False])
def test_equal_weights_give_timms_outputs(norm: bool, timm: Any) -> None:
    """A sixteenth of VGG-11, with timm's layers."""
    torch.manual_seed(0)
    from timm.models import vgg

    cfg = [layer for stage in STAGES[11] for layer in [*(channels // 16 for channels in stage), "M"]]
    theirs = vgg.VGG(cfg, num_classes=5, norm_layer=nn.BatchNorm2d if norm else None)
    theirs.pre_logits = vgg.ConvMlp(32, 256, 7)
    theirs.head.fc = nn.Linear(256, 5)
    theirs = with_statistics(theirs)
    ours = ImageNetVGG(11, norm=norm, head="dropout", width=1 / 16, classes=5).eval()
    state = theirs.state_dict()
    if norm:  # a bias in front of a norm is the same as a mean that is smaller by it
        for name in [name for name in state if name.startswith("features") and name.endswith("running_mean")]:
            layer = int(name.split(".")[1])
            state[name] = state[name] - state.pop(f"features.{layer - 1}.bias")
    pairs = zip(ours.state_dict().items(), state.values(), strict=True)
    ours.load_state_dict({label: value.reshape(mine.shape) for (label, mine), value in pairs})
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)


def test_the_mean_over_the_last_maps_comes_without_a_pooling_before_it() -> None:
    model = ImageNetVGG(16, norm=False, head="pool", width=1 / 16).eval()
    assert model.features(torch.randn(1, 3, 224, 224)).shape == (1, 32, 14, 14)
    assert model.classifier[0].in_features == 32


@pytest.mark.parametrize(("hidden", "hidden_norm", "expected"), [
    (False, False, 14724042), (True, False, 14986698), (True, True, 14987722),
])  # fmt: skip
def test_small_images_have_a_short_classifier(hidden: bool, hidden_norm: bool, expected: int) -> None:
    """14.72 M: the thirteen convolutions and their norms have 14,718,912 parameters, 512 -> 10 has 5,130."""
    with torch.device("meta"):
        assert parameters(VGG(16, hidden=hidden, hidden_norm=hidden_norm)) == expected


@pytest.mark.parametrize("wrong", [{"depth": 12}, {"depth": 11, "head": "mean"}])
def test_a_network_that_nobody_has_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must be one of 11, 16, 19"):
        ImageNetVGG(**wrong)
    with pytest.raises(ValueError, match="must be one of 11, 16, 19"):
        VGG(12)


@pytest.mark.parametrize("network", [VGG, ImageNetVGG])
def test_a_width_that_leaves_no_channel_is_refused(network: Any) -> None:
    with pytest.raises(ValueError, match="leaves no channel of 64"):
        network(11, width=0.01)
