from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shared.layers.shuffle import ChannelShuffle


@given(groups=st.integers(1, 5), length=st.integers(1, 6))
def test_it_is_the_transposition_of_groups_and_places(groups: int, length: int) -> None:
    x = torch.randn(2, groups * length, 3, 2)
    wanted = x.reshape(2, groups, length, 3, 2).transpose(1, 2).reshape(x.shape)
    assert torch.equal(ChannelShuffle(groups * length, groups)(x), wanted)


@given(channels=st.integers(1, 20), data=st.data())
def test_it_is_a_permutation_for_any_number_of_channels(channels: int, data: st.DataObject) -> None:
    layer = ChannelShuffle(channels, data.draw(st.integers(1, channels)))
    assert sorted(layer.index.tolist()) == list(range(channels))
    assert list(layer.state_dict()) == ["index"] and list(layer.parameters()) == []


@pytest.mark.parametrize("groups", [0, 5])
def test_groups_out_of_range_are_refused(groups: int) -> None:
    with pytest.raises(ValueError, match=f"groups is from 1 to the 4 channels, not {groups}"):
        ChannelShuffle(4, groups)


def test_it_is_made_on_the_device_meta() -> None:
    with torch.device("meta"):
        layer = ChannelShuffle(7, 3)
    assert layer(torch.empty(1, 7, 2, 2, device="meta")).shape == (1, 7, 2, 2)
