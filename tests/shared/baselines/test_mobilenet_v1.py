from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from shared.baselines.mobilenet_v1 import MobileNetV1
from tests.statistics import with_statistics


def test_it_equals_timms(timm: Any) -> None:
    """Equal weights, in the order in which both networks hold them; timm's ReLU6 is a ReLU here, as in the paper."""
    torch.manual_seed(0)
    theirs = timm.create_model("mobilenetv1_100", act_layer=nn.ReLU, num_classes=10)
    theirs, ours = with_statistics(theirs).double(), MobileNetV1(classes=10).double().eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(images), expected, atol=1e-10, rtol=1e-10)


def test_a_width_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width must .*not 0.01"):
        MobileNetV1(0.01)
