"""Swin Transformer and the Vision Transformer against timm's, parameter by parameter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from papers.convnext import rivals


def test_vit_is_timms(timm: Any) -> None:
    """Same outputs with the same weights."""
    torch.manual_seed(0)
    theirs = timm.create_model("vit_small_patch16_224", img_size=32).eval()
    ours = rivals.vit("small", 32).eval()
    for parameter in theirs.parameters():
        with torch.no_grad():
            parameter.normal_(0, 0.05)
    state, own = theirs.state_dict(), ours.state_dict()
    outer = {"token": "cls_token", "places": "pos_embed", "patches.": "patch_embed.proj.", "blocks.norm.": "norm.",
             "classifier.": "head."}  # fmt: skip
    inner = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear1.": "mlp.fc1.",
              "linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2."}  # fmt: skip
    moved = {}
    for name in own:
        place, known, rest = "", outer, name
        if name.startswith("blocks.layers."):
            _, _, block, rest = name.split(".", 3)
            place, known = f"blocks.{block}.", inner
        start = next(one for one in known if rest.startswith(one))
        moved[name] = state[place + known[start] + rest.removeprefix(start)]
    ours.load_state_dict(moved)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("size", "side", "window"), [("tiny", 224, 7), ("large", 384, 12)])
def test_swin_has_timms_parameters(size: str, side: int, window: int, timm: Any) -> None:
    pytest.importorskip("mmcv.ops")
    with torch.device("meta"):
        theirs = timm.create_model(f"swin_{size}_patch4_window{window}_{side}")
        ours = rivals.swin(size, window)
    shapes = [sorted(tuple(one.shape) for one in network.parameters()) for network in (theirs, ours)]
    assert shapes[0] == shapes[1]


def test_a_vit_that_the_paper_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size must be one of small, base, large, not 'tiny'"):
        rivals.vit("tiny")
