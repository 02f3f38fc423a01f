"""Channel pruning by reconstruction against brute force, optimality conditions and numpy's least squares."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from papers.rethinking_pruning import reconstruction
from papers.rethinking_pruning.method import ByReconstruction
from papers.rethinking_pruning.reconstruction import greedy, lasso, moments, reconstruct, select, windows
from shared import datasets
from shared.baselines.vgg import VGG
from shared.compression.prune import prune
from shared.compression.surgery import masked, shrink
from shared.errors import PapertrailError, UsageError
from shared.layers.conv import conv_bn
from tests.shared.compression.networks import NETWORKS, SHAPE, settled

FIRST, SECOND = "layers.0.1", "layers.1.1"  # of `Flattened`: read by a convolution, and by a linear layer
EVERY_PLACE = 64
METHODS: tuple[Any, ...] = ("thinet", "regression")


def flattened() -> nn.Module:
    torch.manual_seed(0)
    return settled(NETWORKS["flattened"]("")).double()


def images(number: int, batches: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(number, *SHAPE, generator=generator, dtype=torch.float64) for _ in range(batches)]


def seen_by(network: nn.Module, reader: str, given: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """All windows of a layer, (samples, channels, window), and its outputs without bias, one loop for each axis."""
    twin, taken = copy.deepcopy(network), {}
    layer: Any = twin.get_submodule(reader)
    layer.register_forward_hook(lambda _l, inputs, output: taken.update(x=inputs[0].clone(), y=output.clone()))
    with torch.no_grad():
        twin(torch.cat(given))
    x, y = taken["x"].numpy(), taken["y"].detach().numpy()
    if layer.bias is not None:
        y = y - layer.bias.detach().numpy()
    if isinstance(layer, nn.Linear):  # behind a flattening of 16 pixels
        return x.reshape(len(x), -1, 16), y
    (pad, _), (step, _), (size, _) = layer.padding, layer.stride, layer.kernel_size
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, outputs = [], []
    for image in range(len(x)):
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                window = x[image, :, i * step : i * step + size, j * step : j * step + size]
                rows.append(window.reshape(x.shape[1], -1))
                outputs.append(y[image, :, i, j])
    return np.stack(rows), np.stack(outputs)


def weight_of(network: nn.Module, reader: str, channels: int) -> np.ndarray:
    """(outputs, channels, window)."""
    weight = network.get_parameter(f"{reader}.weight").detach().numpy()
    return weight.reshape(len(weight), channels, -1)


def contributions(network: nn.Module, reader: str, given: list[Tensor]) -> np.ndarray:
    """Of each channel to each output at each place: (samples, channels)."""
    x, _ = seen_by(network, reader, given)
    weight = weight_of(network, reader, x.shape[1])
    return np.einsum("sck,nck->snc", x, weight).reshape(-1, x.shape[1])


def done(by: Any, ratio: dict[str, float], given: list[Tensor]) -> tuple[dict[str, np.ndarray], nn.Module]:
    choice, mended = reconstruct(flattened(), by, ratio, given, SHAPE, 0)
    return {name: mask.numpy() for name, mask in choice.keep.items()}, mended


@pytest.fixture(autouse=True)
def every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruction, "LOCATIONS", EVERY_PLACE)


@pytest.mark.parametrize(("norm", "reader", "before"), [(FIRST, "layers.1.0", {}), (SECOND, "layers.4", {FIRST: 0.5})])
def test_thinet_is_the_greedy_choice_and_the_factors_of_least_squares(
    norm: str, reader: str, before: dict[str, float]
) -> None:
    given = images(20)
    _, start = done("thinet", before, given) if before else ({}, flattened())
    keep, mended = done("thinet", before | {norm: 0.5}, given)
    x = contributions(start, reader, given)
    removed: list[int] = []
    while len(removed) < x.shape[1] - x.shape[1] // 2:
        left = [c for c in range(x.shape[1]) if c not in removed]
        removed.append(min(left, key=lambda c: float((x[:, [*removed, c]].sum(1) ** 2).sum())))
    assert np.flatnonzero(~keep[norm]).tolist() == sorted(removed)

    kept = x[:, keep[norm]]
    factors = np.linalg.lstsq(kept, x.sum(1), rcond=None)[0]
    old, new = (weight_of(network, reader, x.shape[1])[:, keep[norm]] for network in (start, mended))
    np.testing.assert_allclose(new, old * factors[None, :, None], rtol=1e-6, atol=1e-9)
    dropping = float(((x.sum(1) - kept.sum(1)) ** 2).sum())
    mending = float(((x.sum(1) - contributions(mended, reader, given).sum(1)) ** 2).sum())
    assert mending < dropping


@pytest.mark.parametrize(("norm", "reader", "before"), [(FIRST, "layers.1.0", {}), (SECOND, "layers.4", {FIRST: 0.5})])
def test_regression_solves_the_weights_against_the_original_output(
    norm: str, reader: str, before: dict[str, float]
) -> None:
    given = images(60)
    _, start = done("regression", before, given) if before else ({}, flattened())
    keep, mended = done("regression", before | {norm: 0.5}, given)
    x, _ = seen_by(start, reader, given)
    _, y = seen_by(flattened(), reader, given)
    assert keep[norm].sum() == x.shape[1] // 2
    kept = x[:, keep[norm]].reshape(len(x), -1)
    wanted = np.linalg.lstsq(kept, y, rcond=None)[0].T
    found = weight_of(mended, reader, x.shape[1])[:, keep[norm]].reshape(len(wanted), -1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.data())
def test_greedy_removal_by_brute_force(seed: int, channels: int, data: st.DataObject) -> None:
    x = np.random.default_rng(seed).standard_normal((30, channels))
    count = data.draw(st.integers(1, channels - 1))
    removed = greedy(x.T @ x, count)
    assert len(set(removed)) == count
    assert removed[0] == int((x**2).sum(0).argmin())
    for place, channel in enumerate(removed):
        costs = {
            c: float((x[:, [*removed[:place], c]].sum(1) ** 2).sum())
            for c in range(channels)
            if c not in removed[:place]
        }
        assert costs[channel] == pytest.approx(min(costs.values()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0.001, 1.2))
def test_lasso_meets_its_optimality_conditions(seed: int, channels: int, share: float) -> None:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((40, channels)) + draw.standard_normal((40, 1))
    x[:, 0] *= draw.integers(0, 2)  # a channel may be dead
    gram, target = x.T @ x, x.T @ draw.standard_normal(40)
    most = float(np.abs(target).max())
    penalty = share * most
    beta = lasso(gram, target, penalty, np.ones(channels))
    slope = target - gram @ beta
    assert (np.abs(slope) <= penalty + 1e-5 * most).all()
    inside = beta != 0
    np.testing.assert_allclose(slope[inside], penalty * np.sign(beta[inside]), atol=1e-5 * most)
    if share > 1:
        assert not inside.any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.data())
def test_selection_has_the_size_that_is_asked_and_never_prefers_a_dead_channel(
    seed: int, channels: int, data: st.DataObject
) -> None:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((40, channels))
    dead = draw.random(channels) < 0.3
    x[:, dead] = 0
    count = data.draw(st.integers(1, channels - 1))
    kept = select(x.T @ x, x.T @ x.sum(1), count)
    assert kept.sum() == count
    assert not (kept & dead).any() or (kept | dead).all()


def test_channels_that_leave_together_fill_the_places() -> None:
    x = np.random.default_rng(0).standard_normal((40, 1)) * np.ones(4)
    kept = select(x.T @ x, x.T @ x.sum(1), 2)
    assert kept.sum() == 2


def test_selection_takes_the_larger_of_two_parallel_channels() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3))
    x = np.concatenate([0.5 * x, x], axis=1)
    assert select(x.T @ x, x.T @ x.sum(1), 3).tolist() == [False] * 3 + [True] * 3


class Copies(nn.Module):
    """Six channels, of which the last three are twice the first three, and weigh as much again behind."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn(3, 6, 3, 2, act=nn.ReLU),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 5, 3, 1, 1),
            nn.BatchNorm2d(5),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 4),
        )
        self.prunable: tuple[str, ...] = (FIRST,)
        settled(self)
        with torch.no_grad():
            conv, norm, reader = self.layers[0][0], self.layers[0][1], self.layers[2]  # type: ignore[index]
            conv.weight[3:] = conv.weight[:3]
            for part in (norm.weight, norm.bias):
                part[3:] = 2 * part[:3]
            for part in (norm.running_mean, norm.running_var):
                part[3:] = part[:3]
            reader.weight[:, 3:] = 1.5 * reader.weight[:, :3]

    def forward(self, batch: Tensor) -> Tensor:
        return self.layers(batch)


def test_copies_can_go_without_a_trace() -> None:
    torch.manual_seed(0)
    network, given = Copies(), [batch.float() for batch in images(20)]
    choice, mended = reconstruct(network, "regression", 0.5, given, SHAPE, 0)
    fresh = torch.randn(8, *SHAPE)
    with torch.no_grad():
        wanted = network(fresh)
        plain = copy.deepcopy(network)
        masked(plain, choice.keep)
        assert float((plain(fresh) - wanted).abs().max()) > 1e-2
        assert choice.keep[FIRST].tolist() == [False] * 3 + [True] * 3
        torch.testing.assert_close(mended(fresh), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("by", METHODS)
def test_a_dead_channel_keeps_its_weights(by: Any) -> None:
    network = Copies()
    with torch.no_grad():
        network.get_parameter(f"{FIRST}.weight")[:3] = 0
        network.get_parameter(f"{FIRST}.bias")[:3] = -1
    choice, mended = reconstruct(network, by, 0.3, [batch.float() for batch in images(20)], SHAPE, 0)
    keep = choice.keep[FIRST]
    assert keep[:3].sum() == 1 and keep[3:].all(), "two of the three dead ones go"
    place = int(keep[:3].int().argmax())
    old, new = (twin.get_parameter("layers.2.weight")[:, place] for twin in (network, mended))
    torch.testing.assert_close(new, old)


@pytest.mark.parametrize("by", METHODS)
def test_a_ratio_of_0_leaves_everything(by: Any) -> None:
    network = flattened()
    choice, mended = reconstruct(network, by, 0.0, images(4), SHAPE, 0)
    assert all(bool(mask.all()) for mask in choice.keep.values()) and choice.floors == ()
    state = mended.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("by", METHODS)
@pytest.mark.parametrize(
    ("name", "losing"), [("flattened", "*"), ("vgg", "*"), ("basic", "*"), ("bottleneck", "stages.[03].*")]
)
def test_the_smaller_network_is_the_masked_one(name: str, losing: str, by: Any) -> None:
    torch.manual_seed(0)
    network = settled(NETWORKS[name]("")).train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    given = [batch.float() for batch in images(12, 1)]
    choice, mended = reconstruct(network, by, {losing: 0.5}, given, SHAPE, 0)
    assert network.training and all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert tuple(choice.keep) == network.prunable
    for norm, mask in choice.keep.items():
        kept = max(1, len(mask) // 2) if fnmatchcase(norm, losing) else len(mask)
        assert int(mask.sum()) == kept, norm
    small = NETWORKS[name]("-".join(str(int(mask.sum())) for mask in choice.keep.values())).eval()
    small.load_state_dict(shrink(mended, choice.keep, SHAPE))
    fresh = torch.randn(4, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(small(fresh), mended(fresh), rtol=1e-3, atol=1e-4)


def test_a_mended_network_is_nearer_to_the_original() -> None:
    network, given, fresh = flattened(), images(100), images(50, 3)[2]
    with torch.no_grad():
        wanted = network(fresh)
        for by in METHODS:
            choice, mended = reconstruct(network, by, 0.5, given, SHAPE, 0)
            plain = copy.deepcopy(network)
            masked(plain, choice.keep)
            assert (mended(fresh) - wanted).norm() < (plain(fresh) - wanted).norm()


def test_the_seed_decides_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruction, "LOCATIONS", 5)
    network, given = flattened(), images(10)
    torch.manual_seed(5)
    first, again, other = (moments(network, network, "layers.1.0", given, seed) for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again)) and not torch.equal(first[0], other[0])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 3]), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(0, 99))
def test_windows_are_those_of_unfold(size: int, stride: int, padding: int, dilation: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(2, 4, (size, 2), stride, padding, dilation)
    batch = torch.randn(3, 2, 9, 7, generator=generator)
    height, width = layer(batch).shape[2:]
    places = torch.stack([torch.randperm(height * width, generator=generator) for _ in batch])
    every = functional.unfold(batch, layer.kernel_size, dilation, padding, stride)  # type: ignore[arg-type]
    wanted = torch.cat([columns.T[order] for columns, order in zip(every, places, strict=True)])
    assert torch.equal(windows(layer, batch, places, width), wanted)


def test_a_layer_that_would_lose_every_channel_is_named() -> None:
    choice, _ = reconstruct(flattened(), "thinet", {FIRST: 0.9}, images(4), SHAPE, 0)
    assert choice.floors == (FIRST,) and int(choice.keep[FIRST].sum()) == 1


class Forked(Copies):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(6, 5, 3, 1, 1)

    def forward(self, batch: Tensor) -> Tensor:
        x = self.layers[1](self.layers[0](batch))
        x = self.layers[3:6](self.layers[2](x) + self.other(x))
        return self.layers[7](x.flatten(1))


def circular() -> nn.Module:
    network = Copies()
    network.get_submodule("layers.2").padding_mode = "circular"  # type: ignore[assignment]
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Forked(), r"layers\.0\.1: .*layers\.2.* read its channels; reconstruction needs one reader"),
        (NETWORKS["shuffled"](""), r"body\.2\.1: body\.3\.0 reads its channels in groups"),
        (circular(), r"layers\.0\.1: the padding of layers\.2"),
    ],
)
def test_what_cannot_be_mended_is_refused_by_name(network: nn.Module, message: str) -> None:
    with pytest.raises(PapertrailError, match=message):
        reconstruct(network, "thinet", 0.5, [torch.randn(2, *SHAPE)], SHAPE, 0)


def test_a_residual_stream_is_refused_by_name() -> None:
    network: Any = NETWORKS["basic"]("")
    network.prunable = ("stem.1",)
    with pytest.raises(PapertrailError, match=r"stem\.1: cannot shrink"):
        reconstruct(network, "thinet", 0.5, [torch.randn(2, *SHAPE)], SHAPE, 0)


def test_bad_input_is_named() -> None:
    network = Copies()
    with pytest.raises(PapertrailError, match="at least one batch"):
        reconstruct(network, "thinet", 0.5, [], SHAPE, 0)
    with pytest.raises(UsageError, match="meets no prunable layer"):
        reconstruct(network, "thinet", {"nothing": 0.5}, [], SHAPE, 0)
    with pytest.raises(PapertrailError, match=r"layers\.2: its input or output is not a finite number"):
        reconstruct(network, "regression", 0.5, [torch.full((2, *SHAPE), torch.nan)], SHAPE, 0)
    for by in METHODS:
        with pytest.raises(ValueError, match=f"`by: {by}` goes layer by layer"):
            ByReconstruction(by=by, ratio=0.5)


@pytest.mark.parametrize("by", METHODS)
def test_an_arm_can_be_pruned_in_this_way(by: Any) -> None:
    torch.manual_seed(0)
    spec, build = datasets.spec("mnist5k"), {"width": 1 / 16, "in_channels": 1}
    network, other = settled(VGG(11, **build)), settled(VGG(11, **build), 1)
    how = ByReconstruction(by=by, ratio={"features.0.1": 0.5, "features.10.1": 0.25}, scope="layer")
    pruned, small = prune(network, how, spec, 0, lambda changed: VGG(11, **build, **changed))
    assert pruned.args == {"widths": "2-8-16-16-32-32-24-32"} and pruned.floored == ()
    assert all(torch.equal(tensor, pruned.state[name]) for name, tensor in small.state_dict().items())
    onto, _ = prune(network, how, spec, 0, lambda changed: VGG(11, **build, **changed), onto=other)
    assert onto.args == pruned.args
    rows = {tuple(row.flatten().tolist()) for row in other.get_parameter("features.0.0.weight")}
    assert {tuple(row.flatten().tolist()) for row in onto.state["features.0.0.weight"]} < rows
    values = set(other.get_parameter("features.2.0.weight").flatten().tolist())
    assert set(onto.state["features.2.0.weight"].flatten().tolist()) < values, "the weights behind are its own"
