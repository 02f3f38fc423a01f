"""The law: masked and rebuilt are one function, the counts are the rebuilt network's, and nothing shared is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shared.compression.surgery import hold_channels, masked, shrink
from shared.errors import PapertrailError
from shared.layers.conv import conv_bn
from shared.layers.select import ChannelSelect
from shared.layers.widths import prunable_norms
from shared.measure import count
from shared.weights.storage import load_weights, save_weights
from tests.shared.compression.networks import NETWORKS, SHAPE, Shuffled, draw_masks, live, settled, widths_of

every_network = pytest.mark.parametrize("kind", NETWORKS)
some_seeds = settings(max_examples=3, deadline=None)


def rebuilt(kind: str, keep: dict[str, Tensor], state: dict[str, Tensor]) -> nn.Module:
    small = NETWORKS[kind]("-".join(str(int(mask.sum())) for mask in keep.values()))
    small.load_state_dict(state, strict=True)
    return small.eval()


def outputs(network: nn.Module) -> Tensor:
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        return network(images)


@every_network
@some_seeds
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_masked_and_rebuilt_give_the_same_outputs_and_the_counts_by_hand(kind: str, seed: int, share: float) -> None:
    torch.manual_seed(seed)
    network = settled(NETWORKS[kind](""), seed)
    keep = draw_masks(network, seed, share)
    state = shrink(network, keep, SHAPE)
    small = rebuilt(kind, keep, state)
    masked(network, keep)
    ours, theirs = outputs(small), outputs(network)
    assert theirs.abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * max(1.0, float(theirs.abs().max())))
    found = count(small, SHAPE)
    assert (found.params, found.macs) == live(network, SHAPE)
    assert widths_of(small) == "-".join(str(int(mask.sum())) for mask in keep.values())


@every_network
def test_a_save_and_load_round_trip_is_exact(kind: str, tmp_path: Path) -> None:
    network = settled(NETWORKS[kind](""))
    keep = draw_masks(network, 3, 0.5)
    state = shrink(network, keep, SHAPE)
    save_weights(tmp_path / "small.safetensors", state)
    back = load_weights(tmp_path / "small.safetensors", None)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype for name, tensor in state.items())
    assert torch.equal(outputs(rebuilt(kind, keep, back)), outputs(rebuilt(kind, keep, state)))


@every_network
def test_one_channel_left_in_each_layer_is_a_network_still(kind: str) -> None:
    network = settled(NETWORKS[kind](""))
    keep = draw_masks(network, 0, 0.0)
    state = shrink(network, keep, SHAPE)
    masked(network, keep)
    torch.testing.assert_close(outputs(rebuilt(kind, keep, state)), outputs(network), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["flattened", "preactivation", "joined"])
def test_pruning_twice_is_pruning_once_by_both(kind: str) -> None:
    network = settled(NETWORKS[kind](""))
    first = draw_masks(network, 1, 0.7)
    small = rebuilt(kind, first, shrink(network, first, SHAPE))
    second = draw_masks(small, 2, 0.6)
    both = {name: mask.clone() for name, mask in first.items()}
    for name, mask in second.items():
        both[name][first[name]] = mask
    twice, once = shrink(small, second, SHAPE), shrink(network, both, SHAPE)
    assert twice.keys() == once.keys() and all(torch.equal(twice[name], once[name]) for name in once)


def test_the_network_stays_as_it_is_and_need_not_be_ready_for_training() -> None:
    network = settled(NETWORKS["preactivation"]("")).train().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    keep = draw_masks(network, 0, 0.5)
    with torch.no_grad():
        state = shrink(network, keep, SHAPE)
    assert network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(tensor.requires_grad for tensor in state.values())
    for tensor in state.values():
        tensor.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_layers_that_are_not_named_keep_all() -> None:
    network = settled(NETWORKS["vgg"](""))
    name, norm = list(prunable_norms(network).items())[2]
    mask = torch.arange(norm.num_features) != 1
    state = shrink(network, {name: mask}, SHAPE)
    before = network.state_dict()
    changed = {key for key, tensor in state.items() if tensor.shape != before[key].shape}
    conv, after = name.replace(".1", ".0"), "features.5.0.weight"
    parts = ("weight", "bias", "running_mean", "running_var")
    assert changed == {f"{conv}.weight", after} | {f"{name}.{part}" for part in parts}
    assert torch.equal(state[after], before[after][:, mask])
    assert all(torch.equal(tensor, before[key]) for key, tensor in shrink(network, {}, SHAPE).items())


def test_a_selection_is_shortened_and_nothing_before_it() -> None:
    network = settled(NETWORKS["preactivation"](""))
    name = network.prunable[0]
    mask = torch.tensor([True, False, False, True])
    state, before = shrink(network, {name: mask}, SHAPE), network.state_dict()
    assert state["blocks.0.body.0.index"].tolist() == [0, 3]
    assert torch.equal(state["blocks.0.body.3.weight"], before["blocks.0.body.3.weight"][:, mask])
    assert torch.equal(state["stem.weight"], before["stem.weight"])


def test_a_shuffle_keeps_the_old_order_of_what_is_left() -> None:
    network = settled(NETWORKS["joined"](""))
    assert network.shuffle.index.tolist() == [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]
    keep = {"left.1": torch.tensor([1, 1, 0, 0, 0]).bool(), "right.1": torch.tensor([0, 1, 0, 1, 1]).bool()}
    # Of 0 1 6 8 9, counted anew 0 to 4, in the order of the shuffle: 0 1 6 8 9.
    assert shrink(network, keep, SHAPE)["shuffle.index"].tolist() == [0, 1, 2, 3, 4]
    keep = {"left.1": torch.tensor([0, 0, 1, 0, 1]).bool(), "right.1": torch.tensor([1, 0, 0, 1, 0]).bool()}
    # Of 2 4 5 8, counted anew 0 to 3, in the order of the shuffle: 5 2 8 4.
    assert shrink(network, keep, SHAPE)["shuffle.index"].tolist() == [2, 0, 3, 1]


class Refused(nn.Module):
    """Each norm but one shares its channels in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 4, 3, 4, act=nn.ReLU)
        self.branch = conv_bn(4, 4, 1, act=None)
        self.expand = conv_bn(4, 6, 1, act=nn.ReLU)
        self.depthwise = conv_bn(6, 6, 3, groups=6, act=nn.ReLU)
        self.bare, self.norm = nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4)
        self.reader = conv_bn(8, 4, 1, act=nn.ReLU)
        self.select = ChannelSelect(4, 3)
        self.chosen = conv_bn(3, 5, 1, act=None)
        self.slope = nn.PReLU(5)
        self.grouped = conv_bn(5, 4, 1, act=nn.ReLU)
        self.last = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.BatchNorm2d(4))
        self.prunable = tuple(name for name, layer in self.named_modules() if isinstance(layer, nn.BatchNorm2d))

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = torch.relu(x + self.branch(x))
        x = self.bare(self.depthwise(self.expand(x)))
        x = self.reader(torch.cat([x, torch.relu(self.norm(x))], dim=1))
        return self.last(self.grouped(self.slope(self.chosen(self.select(x)))))


@pytest.mark.parametrize(
    "norm, reason",
    [
        ("stem.1", "its channels are those of branch.0 and stem.0 together"),
        ("branch.1", "its channels are those of branch.0 and stem.0 together"),
        ("expand.1", "depthwise.1 behind it shifts what is zero"),
        ("norm", "reader.0 reads bare without it"),
        ("reader.1", "select selects among its channels"),
        ("chosen.1", "slope has its channels and is of no known kind"),
        ("last.1", "its channels are the network's output"),
    ],
)
def test_channels_that_are_not_a_norms_own_are_refused_by_name(norm: str, reason: str) -> None:
    network = Refused()
    mask = torch.arange(len(network.get_parameter(f"{norm}.weight"))) != 1
    with pytest.raises(PapertrailError, match=f"^{norm}: cannot shrink, since {reason}$"):
        shrink(network, {norm: mask}, SHAPE)


def test_a_parameter_beside_the_layers_is_refused_by_name() -> None:
    class Scaled(nn.Module):
        prunable = ("first.1",)

        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = conv_bn(3, 4, 1, act=nn.ReLU), nn.Conv2d(4, 2, 1)
            self.factors = nn.Parameter(torch.ones(1, 4, 1, 1))

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.first(images) * self.factors)

    with pytest.raises(PapertrailError, match=r"^first\.1: .* factors has its channels and is of no known kind"):
        shrink(Scaled(), {"first.1": torch.arange(4) > 0}, SHAPE)


def test_groups_of_different_sizes_are_refused_by_name() -> None:
    with pytest.raises(PapertrailError, match=r"^last\.0: its 2 groups would differ in size"):
        shrink(Refused(), {"grouped.1": torch.tensor([True, True, True, False])}, SHAPE)
    state = shrink(Refused(), {"grouped.1": torch.tensor([False, True, True, False])}, SHAPE)
    assert state["last.0.weight"].shape == (4, 1, 1, 1)
    with pytest.raises(PapertrailError, match=r"body\.\d\.0: its 2 groups would differ in size"):
        shrink(Shuffled(), {"body.2.1": torch.arange(12) != 3}, SHAPE)


def test_masks_that_do_not_fit_are_refused_by_name() -> None:
    network = NETWORKS["vgg"]("")
    name = network.prunable[0]
    wrong = {
        r"the mask is torch.float32 \(2,\)": torch.ones(2),
        r"the mask is torch.bool \(3,\)": torch.ones(3, dtype=torch.bool),
    }
    for reason, mask in wrong.items():
        with pytest.raises(PapertrailError, match=f"{name}: {reason}"):
            masked(network, {name: mask})
        with pytest.raises(PapertrailError, match=f"{name}: {reason}"):
            shrink(network, {name: mask}, SHAPE)
    with pytest.raises(PapertrailError, match=f"{name}: no channel would be left"):
        shrink(network, {name: torch.zeros(2, dtype=torch.bool)}, SHAPE)
    with pytest.raises(PapertrailError, match=r"classifier\.2: no prunable layer of this network; there are features"):
        shrink(network, {"classifier.2": torch.ones(2, dtype=torch.bool)}, SHAPE)
    with pytest.raises(PapertrailError, match="Linear has no tuple `prunable`"):
        shrink(nn.Linear(2, 2), {}, SHAPE)


@every_network
def test_trained_on_with_its_zeros_held_the_masked_network_stays_the_rebuilt_one(kind: str) -> None:
    torch.manual_seed(0)  # four images make poor statistics: with some weights rounding grows a million-fold
    whole = settled(NETWORKS[kind](""), 5)
    keep = draw_masks(whole, 5, 0.5)
    small = rebuilt(kind, keep, shrink(whole, keep, SHAPE)).double()
    whole.double()
    masked(whole, keep)
    hold_channels(whole, keep)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, *SHAPE, generator=generator, dtype=torch.float64)
    goal = torch.randn(whole(images).shape, generator=generator, dtype=torch.float64)
    start = outputs_of(small, images)
    for network in (whole, small):
        network.train()
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0  # it would drop other features of either
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
        for _ in range(3):
            optimiser.zero_grad()
            nn.functional.mse_loss(network(images), goal).backward()
            optimiser.step()
        network.eval()
    torch.testing.assert_close(outputs_of(whole, images), outputs_of(small, images), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(outputs_of(small, images), start, rtol=1e-3)
    for name, mask in keep.items():
        norm = prunable_norms(whole)[name]
        assert not bool(norm.weight[~mask].any()) and not bool(norm.bias[~mask].any())


def outputs_of(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


def test_a_masked_layer_may_lose_everything() -> None:
    network = settled(NETWORKS["vgg"](""))
    name, norm = list(prunable_norms(network).items())[1]
    masked(network, {name: torch.zeros(norm.num_features, dtype=torch.bool)})
    first, second = outputs(network)
    assert torch.equal(first, second), "nothing of the image comes past that layer"
