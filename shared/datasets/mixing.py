"""RandAugment, mixup and cutmix, by kornia. Imported only when a recipe asks for one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from kornia.augmentation import RandomCutMixV2, RandomMixUpV2
from kornia.augmentation.auto import RandAugment
from kornia.augmentation.auto.rand_augment.rand_augment import default_policy
from torch import Tensor
from torch.nn.functional import one_hot

from shared.datasets import rng
from shared.datasets.augment import Augment, RandAugmentSpec


@contextlib.contextmanager
def _seeded(seed: int, epoch: int, index: Tensor) -> Iterator[None]:
    """Seed torch's global generator from (seed, epoch, the batch's first index), and restore it afterwards.

    kornia draws from the CPU's global generator and takes no other; a GPU's generator is not touched.
    """
    state = torch.get_rng_state()
    first = int(index[0])
    torch.default_generator.manual_seed(rng.key(rng.key(seed, epoch, rng.BATCH), first))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def rand_augment(images: Tensor, index: Tensor, recipe: RandAugmentSpec, *, seed: int, epoch: int) -> Tensor:
    """RandAugment of float images (N, 3, H, W) in 0..1: `n` times one of kornia's 15 operations, drawn for each image.

    Which operations an image meets is a function of its index; an operation's sign is drawn for the batch's members.
    """
    names = [operations[0][0] for operations in default_policy]
    draws = rng.uniform(seed, epoch, index, recipe.n, rng.BATCH)
    choices = (draws * len(names)).to(torch.int64)
    images = images.clone()
    with _seeded(seed, epoch, index):
        for turn in range(recipe.n):
            for number, operation in enumerate(default_policy):
                members = (choices[:, turn] == number).nonzero().flatten()
                if len(members):
                    images[members] = RandAugment(n=1, m=recipe.m, policy=[operation])(images[members])
    return images


def mix(
    images: Tensor, labels: Tensor, index: Tensor, recipe: Augment, classes: int, *, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018) or cutmix (Yun et al. 2019) of a batch, one mixing weight for the batch.

    The weight is drawn from Beta(a, a) with a = `recipe.mixup` or `recipe.cutmix`. Which of them, or none, is drawn by
    the recipe's probabilities.

    Returns:
        Images (N, C, H, W), and probabilities float32 (N, classes), each row of sum one.
    """
    with _seeded(seed, epoch, index):
        by_mixup, by_cutmix = recipe.mixing()
        draw = 0.0 if 1.0 in (by_mixup, by_cutmix) else float(torch.rand(()))
        if draw >= by_mixup + by_cutmix:
            return images, one_hot(labels, classes).to(torch.float32)
        if draw < by_cutmix:
            cutmix = RandomCutMixV2(
                beta=recipe.cutmix, same_on_batch=True, data_keys=["input", "class"], use_correct_lambda=True
            )
            images, mixed = cutmix(images, labels)
            first, second, kept = mixed[0].unbind(1)  # here kornia's third column is the first label's share
        else:
            share = float(torch.distributions.Beta(recipe.mixup, recipe.mixup).sample())
            mixup = RandomMixUpV2(lambda_val=(share, share), data_keys=["input", "class"])
            images, mixed = mixup(images, labels)
            first, second, other = mixed.unbind(1)  # and here the second label's
            kept = 1 - other
    kept = kept[:, None]
    targets = kept * one_hot(first.long(), classes) + (1 - kept) * one_hot(second.long(), classes)
    return images, targets
