from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from shared.errors import PapertrailError
from shared.weights.packing import pack, unpack
from shared.weights.storage import content_digest

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn]
VALUES = st.one_of(st.just(0.0), st.just(0.0), st.sampled_from([-0.0, math.nan, math.inf, -math.inf, 1e-45, 1.5, -2.0]))


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Equal names, types, shapes and bits."""
    return list(left) == list(right) and content_digest(left) == content_digest(right)


@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    dtype=st.sampled_from(DTYPES),
    data=st.data(),
)
def test_what_is_packed_comes_back_to_the_bit(shape: list[int], dtype: torch.dtype, data: st.DataObject) -> None:
    size = math.prod(shape)
    values = data.draw(st.lists(VALUES, min_size=size, max_size=size))
    state = {"a.weight": torch.tensor(values, dtype=torch.float64).to(dtype).reshape(shape), "b": torch.arange(3)}
    assert same(unpack(pack(state)), state)


@given(data=st.data())
def test_a_tensor_is_packed_when_most_of_it_is_zero(data: st.DataObject) -> None:
    zeros = data.draw(st.integers(0, 24))
    tensor = torch.cat([torch.zeros(zeros), torch.ones(24 - zeros)])[torch.randperm(24)].reshape(2, 3, 4)
    packed = pack({"w": tensor})
    assert set(packed) == ({"w|values", "w|places", "w|shape"} if zeros > 12 else {"w"})
    if zeros > 12:
        assert len(packed["w|values"]) == 24 - zeros
        assert packed["w|places"].dtype == torch.uint8 and len(packed["w|places"]) == 3


def test_an_ordinary_state_gives_the_very_file() -> None:
    state = {
        "conv.weight": torch.randn(4, 3, 3, 3),
        "conv.bias": torch.zeros(4),
        "norm.num_batches_tracked": torch.tensor(0),
        "select.index": torch.zeros(8, 8, dtype=torch.int64),
        "half": torch.tensor([[0.0, 1.0]]),
        "minus": -torch.zeros(4, 4),
    }
    packed = pack(state)
    assert list(packed) == list(state) and all(packed[name] is tensor for name, tensor in state.items())
    assert save(packed) == save(state)
    assert all(value is packed[name] for name, value in unpack(packed).items())


def test_a_masked_network_is_stored_in_less() -> None:
    weight = torch.randn(64, 64, 3, 3)
    weight[torch.rand(weight.shape) < 0.8] = 0
    dense, small = (len(save(state)) for state in ({"w": weight}, pack({"w": weight})))
    kept = int((weight != 0).sum())
    assert small < 4 * kept + weight.numel() // 8 + 400 < dense / 3


def test_parameters_and_transposed_tensors_are_packed_in_row_major_order() -> None:
    tensor = torch.nn.Parameter(torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 6.0]]).t().contiguous().t())
    packed = pack({"w": tensor})
    assert packed["w|values"].tolist() == [5.0, 6.0] and not packed["w|values"].requires_grad
    assert packed["w|places"].tolist() == [0b00010100]
    assert torch.equal(unpack(packed)["w"], tensor)


def test_a_name_with_the_mark_is_refused() -> None:
    with pytest.raises(PapertrailError, match=r"`a\|values`: the name of a tensor cannot have"):
        pack({"a|values": torch.ones(2)})


@pytest.mark.parametrize("part", ["values", "places", "shape"])
def test_a_missing_part_is_named(part: str) -> None:
    packed = pack({"layer.w": torch.eye(4)})
    del packed[f"layer.w|{part}"]
    with pytest.raises(PapertrailError, match=r"`layer\.w"):
        unpack(packed)


@pytest.mark.parametrize(
    "part, other",
    [
        ("values", torch.ones(3)),
        ("places", torch.tensor([255, 255], dtype=torch.uint8)),
        ("places", torch.tensor([255], dtype=torch.uint8)),
        ("places", torch.ones(2)),
        ("shape", torch.tensor([4, 5])),
        ("shape", torch.tensor([-4, -4])),
        ("shape", torch.tensor([2.0, 2.0])),
    ],
)
def test_parts_that_do_not_fit_are_named(part: str, other: Tensor) -> None:
    packed = pack({"layer.w": torch.eye(4)}) | {f"layer.w|{part}": other}
    with pytest.raises(PapertrailError, match=r"`layer\.w`: .* do not fit"):
        unpack(packed)


def test_a_foreign_name_with_the_mark_is_refused() -> None:
    with pytest.raises(PapertrailError, match=r"`w\|bits`: no part of a packed tensor"):
        unpack({"w|bits": torch.ones(1)})
