"""The evidence that claims.yaml names for its explanations, and the oracles."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from papers.convnext.model import convnext
from papers.convnext.roadmap import roadmap
from papers.convnext.upstream import rename
from shared.baselines.resnet import ResNet
from shared.ledger.printed import parse_printed
from shared.measure import count
from tests.statistics import with_statistics


def test_the_last_step_of_table_10_is_convnext_t() -> None:
    """The print is not its multiply-adds; those of table 11's last step are printed as they are."""
    with torch.device("meta"):
        macs = {start: count(roadmap("convnext", start), (3, 224, 224)).macs for start in ("resnet50", "resnet200")}
    assert not parse_printed("4.49G").is_print_of(macs["resnet50"])
    assert parse_printed("4.46G").is_print_of(macs["resnet50"])  # which the row above prints
    assert parse_printed("4.5G").is_print_of(macs["resnet50"])  # as table 1 does
    assert parse_printed("15.35G").is_print_of(macs["resnet200"])


@pytest.mark.parametrize("size", ["tiny", "small", "base", "large", "xlarge"])
def test_outputs_equal_timm(size: str, timm: Any) -> None:
    """Two sizes in full, the others by the shapes and the order of their parameters."""
    whole = size in ("tiny", "base")
    with torch.device("cpu" if whole else "meta"):
        theirs, ours = timm.create_model(f"convnext_{size}"), convnext(size).eval()
    renamed = rename(theirs.state_dict())
    assert {name: tensor.shape for name, tensor in renamed.items()} == {
        name: tensor.shape for name, tensor in ours.state_dict().items()
    }
    # Both networks hold their layers in the same order, which is an independent way to know the right place.
    assert list(renamed) == list(ours.state_dict())
    if not whole:
        return
    torch.manual_seed(0)
    for name, parameter in theirs.named_parameters():
        with torch.no_grad():
            parameter.normal_(1 if name.endswith(("gamma", "norm.weight")) else 0, 0.05)
    ours.load_state_dict(rename(theirs.state_dict()))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs.eval()(images)
        assert expected.std() > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=0)


def test_the_first_step_is_resnet_50() -> None:
    torch.manual_seed(0)
    theirs, ours = with_statistics(ResNet(50)), roadmap("resnet").eval()
    state, other = theirs.state_dict(), ours.state_dict()
    # Ours has no sequence around each convolution and its norm; the order of the layers is the same.
    ours.load_state_dict(dict(zip(other, state.values(), strict=True)))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=0)
