import pytest
import torch

from shared.datasets import mixing
from shared.datasets.augment import Augment, RandAugmentSpec

IMAGES = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 5
INDEX = torch.arange(40, 52)


@pytest.mark.parametrize("recipe", [Augment(mixup=0.4), Augment(cutmix=1.0), Augment(mixup=0.4, cutmix=1.0)])
def test_targets_are_probabilities_and_follow_the_batch(recipe):
    for epoch in range(5):
        images, targets = mixing.mix(IMAGES, LABELS, INDEX, recipe, 5, seed=0, epoch=epoch)
        assert images.shape == IMAGES.shape and targets.shape == (12, 5)
        assert torch.allclose(targets.sum(1), torch.ones(12)) and float(targets.min()) >= 0
        again = mixing.mix(IMAGES, LABELS, INDEX, recipe, 5, seed=0, epoch=epoch)
        assert torch.equal(images, again[0]) and torch.equal(targets, again[1])
    other = mixing.mix(IMAGES, LABELS, INDEX, recipe, 5, seed=0, epoch=6)
    assert not torch.equal(images, other[0])


def mixing_input():
    """Images that are constant and equal to their label, so that pixels show what the target must be."""
    labels = torch.arange(8) % 2
    return labels.float().view(-1, 1, 1, 1).expand(-1, 1, 10, 10).clone(), labels


@pytest.mark.parametrize("recipe", [Augment(mixup=1.0), Augment(cutmix=1.0)])
def test_the_share_of_the_pixels_is_the_share_of_the_target(recipe):
    images, labels = mixing_input()
    seen = set()
    for epoch in range(20):
        mixed, targets = mixing.mix(images, labels, torch.arange(8), recipe, 2, seed=0, epoch=epoch)
        assert torch.allclose(mixed.mean((1, 2, 3)), targets[:, 1], atol=1e-5)
        seen |= set(targets[:, 1].tolist())
    assert len(seen) > 10


def test_cutmix_keeps_whole_pixels():
    images, labels = mixing_input()
    mixed, _ = mixing.mix(images, labels, torch.arange(8), Augment(cutmix=1.0), 2, seed=0, epoch=1)
    assert set(mixed.unique().tolist()) == {0.0, 1.0}


def test_rand_augment_draws_operations_for_each_image_and_repeats():
    recipe = RandAugmentSpec(n=2, m=9)
    before = IMAGES.clone()
    out = mixing.rand_augment(IMAGES, INDEX, recipe, seed=0, epoch=0)
    assert torch.equal(IMAGES, before)
    assert out.shape == IMAGES.shape and float(out.min()) >= 0 and float(out.max()) <= 1
    assert (out != IMAGES).flatten(1).any(1).sum() >= 8
    assert torch.equal(out, mixing.rand_augment(IMAGES, INDEX, recipe, seed=0, epoch=0))
    assert not torch.equal(out, mixing.rand_augment(IMAGES, INDEX, recipe, seed=0, epoch=1))
    same = mixing.rand_augment(IMAGES[:1].expand(12, -1, -1, -1), INDEX, recipe, seed=0, epoch=0)
    assert len({image.numpy().tobytes() for image in same}) > 6


def test_the_global_generator_is_restored():
    torch.manual_seed(9)
    state = torch.get_rng_state()
    mixing.mix(IMAGES, LABELS, INDEX, Augment(mixup=0.2, cutmix=1.0), 5, seed=0, epoch=0)
    mixing.rand_augment(IMAGES, INDEX, RandAugmentSpec(n=1, m=5), seed=0, epoch=0)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("recipe", "shares"),
    [
        (Augment(mixup=1.0), (1.0, 0.0)),
        (Augment(mixup=1.0, mixup_probability=0.3), (0.3, 0.0)),
        (Augment(cutmix=1.0, cutmix_probability=0.5), (0.0, 0.5)),
        (Augment(mixup=1.0, cutmix=1.0), (0.5, 0.5)),
        (Augment(mixup=1.0, cutmix=1.0, mixup_probability=0.2, cutmix_probability=0.7), (0.2, 0.7)),
    ],
)
def test_batches_are_mixed_as_often_as_the_recipe_says(recipe, shares):
    images, labels = mixing_input()
    counts = {"mixup": 0, "cutmix": 0, "plain": 0}
    for epoch in range(200):
        mixed, targets = mixing.mix(images, labels, torch.arange(8), recipe, 2, seed=0, epoch=epoch)
        if torch.equal(mixed, images):
            counts["plain"] += 1
            assert torch.equal(targets, torch.nn.functional.one_hot(labels, 2).float())
        else:
            counts["cutmix" if set(mixed.unique().tolist()) <= {0.0, 1.0} else "mixup"] += 1
    # Half of all mixings pair images of one class alone or keep all: a batch of eight shows nearly all of them.
    for way, share in zip(("mixup", "cutmix"), shares, strict=True):
        assert abs(counts[way] / 200 - share) < 0.12, counts


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixup_probability": 0.5}, "belongs to a `mixup` above 0"),
        ({"mixup": 1, "cutmix": 1, "mixup_probability": 0.5}, "both probabilities or none"),
        ({"mixup": 1, "cutmix": 1, "mixup_probability": 0.6, "cutmix_probability": 0.6}, "must not exceed 1"),
    ],
)
def test_probabilities_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Augment(**values)
