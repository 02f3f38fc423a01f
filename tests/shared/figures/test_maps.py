from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional

from shared.figures.maps import catch, fit_depthwise, fit_error, sample_picture, show_maps, similar_pairs


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), size=st.sampled_from([1, 3, 5, 7]))
def test_a_known_kernel_is_found_again(seed: int, size: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    source = torch.randn(20, 24, generator=draw, dtype=torch.float64)
    kernel = torch.randn(size, size, generator=draw, dtype=torch.float64)
    target = functional.conv2d(source[None, None], kernel[None, None], padding=size // 2)[0, 0]
    found = fit_depthwise(source, target, size)
    torch.testing.assert_close(found, kernel)
    assert fit_error(source, target, found) == pytest.approx(0, abs=1e-18)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_a_larger_kernel_never_fits_worse(seed: int) -> None:
    source, target = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(seed))
    errors = [fit_error(source, target, fit_depthwise(source, target, size)) for size in (1, 3, 5, 7)]
    assert all(wider <= narrower + 1e-12 for narrower, wider in itertools.pairwise(errors))


def test_the_error_is_that_of_torch_convolution() -> None:
    source, target = torch.randn(2, 9, 9)
    kernel = torch.randn(5, 5)
    made = functional.conv2d(source[None, None], kernel[None, None], padding=2)[0, 0]
    assert fit_error(source, target, kernel) == pytest.approx(float((made - target).square().mean()), rel=1e-5)


def test_pairs_are_the_most_correlated_and_disjoint() -> None:
    noise = torch.randn(5, 12, 12, generator=torch.Generator().manual_seed(1))
    alike, near = -2 * noise[0] + 1, noise[1] + 0.3 * noise[2]
    maps = torch.stack([noise[0], noise[1], alike, near, noise[3], torch.zeros(12, 12)])
    pairs = similar_pairs(maps, 3)
    assert [pair[:2] for pair in pairs[:2]] == [(0, 2), (1, 3)]
    assert pairs[0][2] == pytest.approx(-1)
    assert len(pairs) == 2  # what is left is one live map and one dead one


def test_catching_outputs_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
    images = torch.randn(2, 3, 8, 8)
    before, after = catch(model, [model[1], model[2]], images)
    assert model.training and not any(module._forward_hooks for module in model)
    assert model[1].num_batches_tracked == 0
    assert (before < 0).any()
    torch.testing.assert_close(after, before.relu())


def test_each_map_is_drawn_once_under_its_title() -> None:
    figure = Figure()
    planes = torch.arange(5 * 16.0).view(5, 4, 4)
    show_maps(figure, planes, [f"map {number}" for number in range(5)], columns=3)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == [f"map {number}" for number in range(5)]
    assert all((axes.images[0].get_array() == plane.numpy()).all() for axes, plane in zip(drawn, planes, strict=True))


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_a_picture_comes_with_an_installed_package(name: str) -> None:
    picture = sample_picture(name, 32)
    assert picture.shape == (3, 32, 32) and picture.dtype == torch.uint8
    assert picture.float().std() > 20
