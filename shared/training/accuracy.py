"""The accuracy of a classifier on the test split."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from shared import datasets
from shared.datasets.augment import Augment
from shared.datasets.memory import evaluation_batch
from shared.training.classification import ClassificationRecipe

BATCH = 256


def measure(network: nn.Module, recipe: ClassificationRecipe, data: str) -> dict[str, float]:
    """The metrics of the task; see `seen`."""
    return seen(network, recipe.augment, data)


def seen(network: nn.Module, augment: Augment, data: str) -> dict[str, float]:
    """Accuracies in percent and the mean cross-entropy of a network on the test split, on a GPU where there is one.

    The network is put into evaluation mode, and moved; images are seen as `augment.eval` has it, normalised.

    Raises:
        DataError: the data are missing or damaged.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = evaluation_batch(datasets.spec(data), BATCH, device)
    module = datasets.datamodule(data, batch_size=size, augment=augment, seed=0)
    module.data["test"] = module.open("test")  # the training split is not needed
    network = network.to(device).eval()
    loss, first, fifth = 0.0, 0, 0
    with torch.inference_mode():
        for batch in module.test_dataloader():
            images, labels = module.transform(tuple(part.to(device) for part in batch), training=False)
            logits = network(images)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right = logits.topk(min(5, logits.shape[1]), 1).indices == labels[:, None]
            first += int(right[:, 0].sum())
            fifth += int(right.sum())
    count = module.length("test")
    return {
        "top1": round(100 * first / count, 4),
        "top5": round(100 * fifth / count, 4),
        "loss": round(loss / count, 6),
    }
