"""The learning rate of adder layers."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from papers.adder_detection.adder import Adder2d
from papers.adder_detection.method import AdaptiveLearningRate
from shared.training.optim import build_optimiser
from shared.training.recipe import Optimiser


def adder_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Adder2d(2, 6, 3, padding=1), nn.Flatten(), nn.Linear(6 * 16, 3), nn.Unflatten(1, (3, 1, 1)))


def test_adaptive_gradients_have_the_papers_length() -> None:
    layers = nn.Sequential(Adder2d(3, 8, 3), Adder2d(8, 5, 1), nn.Conv2d(5, 2, 1))
    optimiser = build_optimiser(layers, Optimiser(name="sgd", lr=0.5), AdaptiveLearningRate(eta=0.3))
    before = [parameter.detach().clone() for parameter in layers.parameters()]
    (1e-3 * layers(torch.randn(2, 3, 6, 6)).square().sum()).backward()
    gradients = [parameter.grad.clone() for parameter in layers.parameters() if parameter.grad is not None]
    optimiser.step()
    steps = [old - new.detach() for old, new in zip(before, layers.parameters(), strict=True)]
    for k, (step, gradient) in enumerate(zip(steps, gradients, strict=True)):
        if k < 2:
            length = 0.5 * 0.3 * math.sqrt(gradient.numel())
            torch.testing.assert_close(step, length * gradient / gradient.norm())
        else:
            torch.testing.assert_close(step, 0.5 * gradient)


def test_adaptive_gradient_of_zero_is_zero() -> None:
    layer = Adder2d(2, 2, 1)
    optimiser = build_optimiser(layer, Optimiser(name="sgd", lr=1), AdaptiveLearningRate())
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimiser.step()
    assert torch.equal(layer.weight, before)
    layer.weight.grad = None
    optimiser.step()
    assert torch.equal(layer.weight, before)


def one_step(network: nn.Module, images: Tensor, targets: Tensor) -> None:
    sgd = Optimiser(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-2)
    optimiser = build_optimiser(network, sgd, AdaptiveLearningRate())
    (network(images) - targets).square().mean().backward()
    optimiser.step()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    # Two halves of very unlike gradients, so that scaling before the mean would show.
    images = torch.randn(8, 2, 4, 4, generator=generator)
    images[4:] *= 20
    return images, torch.randn(8, 3, 1, 1, generator=generator)


def part_of_the_step(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    network = adder_network()
    images, targets = (whole.chunk(2)[rank] for whole in batch())
    one_step(nn.parallel.DistributedDataParallel(network), images, targets)
    torch.save(network.state_dict(), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_step_as_one_with_the_whole_batch(tmp_path: Path) -> None:
    whole = adder_network()
    one_step(whole, *batch())
    torch.multiprocessing.spawn(part_of_the_step, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt")
        for name, expected in whole.state_dict().items():
            torch.testing.assert_close(state[name], expected)


def test_a_network_without_adder_layers_trains_as_without_the_method() -> None:
    states = []
    for method in (None, AdaptiveLearningRate()):
        torch.manual_seed(0)
        network = nn.Conv2d(2, 3, 1)
        optimiser = build_optimiser(network, Optimiser(name="sgd", lr=0.1), method)
        network(torch.ones(1, 2, 3, 3)).square().sum().backward()
        optimiser.step()
        states.append(network.weight.detach().clone())
    assert torch.equal(*states)
