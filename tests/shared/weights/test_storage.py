from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shared.errors import PapertrailError
from shared.files import sha256_file
from shared.weights.storage import content_digest, fill, load_weights, save_weights


def state() -> dict[str, torch.Tensor]:
    return {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(3), "c": torch.ones(2, 2).t()}


def test_equal_tensors_give_equal_bytes_and_come_back_equal(tmp_path: Path) -> None:
    save_weights(tmp_path / "one.safetensors", state())
    save_weights(tmp_path / "two.safetensors", dict(reversed(state().items())))
    assert sha256_file(tmp_path / "one.safetensors") == sha256_file(tmp_path / "two.safetensors")
    back = load_weights(tmp_path / "one.safetensors", sha256_file(tmp_path / "one.safetensors"))
    assert all(torch.equal(back[name], tensor) for name, tensor in state().items())
    assert content_digest(back) == content_digest(state())


class Tied(nn.Module):
    """One tensor under two names, and a buffer that is a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
        self.last.weight = self.first.weight
        self.register_buffer("row", self.first.weight.detach()[1])


def test_weights_that_are_tied_are_stored_under_each_name(tmp_path: Path) -> None:
    network, path = Tied(), tmp_path / "w.safetensors"
    save_weights(path, network.state_dict())
    back = load_weights(path, None)
    assert all(torch.equal(back[name], tensor) for name, tensor in network.state_dict().items())
    other = Tied()
    fill(other, back, path)
    assert other.first.weight is other.last.weight and torch.equal(other.first.weight, network.first.weight)


def test_the_digest_sees_names_shapes_types_and_values() -> None:
    variants = [
        {"x": torch.zeros(4)},
        {"y": torch.zeros(4)},
        {"x": torch.zeros(2, 2)},
        {"x": torch.zeros(4, dtype=torch.int32)},
        {"x": torch.tensor([0.0, 0, 0, 1])},
    ]
    assert len({content_digest(variant) for variant in variants}) == len(variants)


@given(st.data())
def test_one_flipped_bit_anywhere_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "w.safetensors"
    save_weights(path, state())
    pinned = sha256_file(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(PapertrailError, match=r"w\.safetensors: "):
        load_weights(path, pinned)


@pytest.mark.parametrize("writer", [lambda s, p: torch.save(s, p), lambda s, p: p.write_bytes(pickle.dumps(s))])
def test_a_pickle_is_refused_whatever_its_name(tmp_path: Path, writer) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "w.safetensors"
    writer(state(), path)
    with pytest.raises(PapertrailError, match=r"w\.safetensors: this is a pickle"):
        load_weights(path, None)


def test_a_truncated_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(PapertrailError, match=r"w\.safetensors: cannot be read \(No such file"):
        load_weights(path, None)
    save_weights(path, state())
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(PapertrailError, match="not a safetensors file"):
        load_weights(path, None)


def test_tensors_that_do_not_fit_are_named() -> None:
    source = Path("w.safetensors")
    good = nn.Linear(2, 3).state_dict()
    with pytest.raises(PapertrailError, match="no tensor `bias`"):
        fill(nn.Linear(2, 3), {"weight": good["weight"]}, source)
    with pytest.raises(PapertrailError, match=r"`weight` has the shape \(3, 2\), the network's has \(3, 4\)"):
        fill(nn.Linear(4, 3), good, source)
    with pytest.raises(PapertrailError, match="the network has no tensor `extra`"):
        fill(nn.Linear(2, 3), good | {"extra": torch.zeros(1)}, source)


def test_of_many_tensors_that_do_not_fit_a_few_are_named() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(100)))
    theirs = {f"layer{name}": tensor for name, tensor in network.state_dict().items()}
    with pytest.raises(PapertrailError) as told:
        fill(network, theirs, Path("w.safetensors"))
    assert str(told.value) == (
        "w.safetensors: it has no tensor `0.weight`, `0.bias`, `1.weight` and 197 more, which the network needs; "
        "the network has no tensor `layer0.weight`, `layer0.bias`, `layer1.weight` and 197 more"
    )
    narrow = {name: tensor[:1] for name, tensor in network.state_dict().items()}
    with pytest.raises(
        PapertrailError, match=r"`0.weight` has the shape \(1, 2\), .* \(2, 2\) \(and 199 more differ\)"
    ):
        fill(network, narrow, Path("w.safetensors"))
