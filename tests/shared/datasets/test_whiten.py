"""Whitening against its definition, and against scikit-learn's in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from shared.datasets import datamodule, whiten
from shared.datasets.augment import Augment
from shared.errors import UsageError


def correlated(count: int, seed: int = 0) -> torch.Tensor:
    """uint8 images (count, 3, 4, 5) whose neighbouring pixels are much alike."""
    noise = torch.randn(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    smooth = noise.cumsum(2).cumsum(3)
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).to(torch.uint8)


def test_each_image_has_no_mean_and_the_stated_norm() -> None:
    flat = whiten.contrast_normalised(correlated(50))
    torch.testing.assert_close(flat.norm(dim=1), torch.full((50,), whiten.NORM))
    torch.testing.assert_close(flat.mean(1), torch.zeros(50), atol=1e-5, rtol=0)
    assert not whiten.contrast_normalised(torch.full((1, 3, 4, 5), 7, dtype=torch.uint8)).any()


@pytest.mark.parametrize("chunk", [5000, 170])
def test_whitening_is_the_symmetric_root_of_the_inverse_covariance(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whiten, "CHUNK", chunk)
    images = correlated(900)
    ours = whiten.fit(images)
    flat = whiten.contrast_normalised(images).double().numpy()
    components = PCA().fit(flat)  # its variances divide by one sample less
    root = 1 / np.sqrt(components.explained_variance_ * (len(flat) - 1) / len(flat) + whiten.BIAS)
    expected = (flat - flat.mean(0)) @ (components.components_.T * root) @ components.components_
    np.testing.assert_allclose(ours.apply(images).flatten(1).numpy(), expected, atol=2e-3)
    torch.testing.assert_close(ours.matrix, ours.matrix.T, atol=1e-5, rtol=0)


def test_neighbouring_pixels_lose_their_correlation() -> None:
    images = correlated(900)

    def most(pixels: np.ndarray) -> float:
        """The largest correlation of two pixels."""
        return float(np.abs(np.corrcoef(pixels.T) - np.eye(pixels.shape[1])).max())

    before, after = images.flatten(1).numpy(), whiten.fit(images).apply(images).flatten(1).numpy()
    assert most(before) > 0.9 and most(after) < 0.3


def test_a_set_that_is_not_held_in_memory_is_refused() -> None:
    recipe = {"normalisation": "zca", "random_resized_crop": {"size": 32}, "eval": {"resize": 32, "crop": 32}}
    with pytest.raises(UsageError, match="imagenet: `normalisation: zca` is for sets that are held in memory"):
        datamodule("imagenet", batch_size=4, augment=Augment.model_validate(recipe), seed=0)
