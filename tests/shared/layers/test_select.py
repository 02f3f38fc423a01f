from __future__ import annotations

import pytest
import torch

from shared.layers.select import ChannelSelect


def test_it_gives_the_channels_at_its_index() -> None:
    layer = ChannelSelect(5, 3)
    assert layer.index.tolist() == [0, 1, 2] and layer.index.dtype == torch.int64
    layer.load_state_dict({"index": torch.tensor([0, 2, 4])})
    for shape in ((2, 5), (2, 5, 3, 3)):
        x = torch.randn(shape)
        assert torch.equal(layer(x), x[:, [0, 2, 4]])


def test_the_index_travels_with_the_weights_and_is_not_trained() -> None:
    layer = ChannelSelect(5, 3)
    assert list(layer.state_dict()) == ["index"] and list(layer.parameters()) == []
    with pytest.raises(RuntimeError, match="size mismatch"):
        ChannelSelect(5, 2).load_state_dict(layer.state_dict())


@pytest.mark.parametrize("kept", [0, 6])
def test_a_count_out_of_range_is_refused(kept: int) -> None:
    with pytest.raises(ValueError, match=f"kept is from 1 to the 5 channels, not {kept}"):
        ChannelSelect(5, kept)
