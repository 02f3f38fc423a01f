"""ZCA whitening behind a global contrast normalisation: images whose pixels are all but uncorrelated.

As the CIFAR images were prepared for Maxout networks (Goodfellow et al. 2013) with the library pylearn2; the two
constants are recalled, not read. The same images went into networks in network and wide residual networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NORM = 55.0  # of each image, its mean subtracted; about one for each pixel of 3 x 32 x 32
BIAS = 0.1  # added to each eigenvalue of the covariance
CHUNK = 5000  # images at a time


def contrast_normalised(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) to float32 (N, C H W): each image with a mean of zero and a norm of 55; a flat one is zero."""
    flat = images.flatten(1).to(torch.float32)
    flat = flat - flat.mean(1, keepdim=True)
    return flat * (NORM / flat.norm(dim=1, keepdim=True).clamp_min(1e-8))


@dataclass(frozen=True)
class Whitening:
    """(x - `mean`) `matrix`, on images as `contrast_normalised` gives them: (C H W,) and (C H W, C H W), symmetric."""

    mean: Tensor
    matrix: Tensor

    def to(self, device: torch.device) -> Whitening:
        """The same on that device."""
        return Whitening(self.mean.to(device), self.matrix.to(device))

    def apply(self, images: Tensor) -> Tensor:
        """uint8 (N, C, H, W) to float32 of the same shape."""
        return ((contrast_normalised(images) - self.mean) @ self.matrix).view(images.shape)


def fit(images: Tensor) -> Whitening:
    """The whitening of uint8 images (N, C, H, W): the symmetric square root of the inverse of their covariance."""
    count, size = len(images), images[0].numel()
    total, square = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for chunk in images.split(CHUNK):
        flat = contrast_normalised(chunk)
        total += flat.sum(0)
        square += flat.T @ flat
    mean = total / count
    values, vectors = torch.linalg.eigh((square / count - mean.outer(mean)).to(torch.float32))
    matrix = (vectors * (values + BIAS).rsqrt()) @ vectors.T
    return Whitening(mean.to(torch.float32), matrix)
