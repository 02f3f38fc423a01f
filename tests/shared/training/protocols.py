"""A protocol of a few seconds, used by the tests and (run as a script) by processes that the tests kill."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from shared.errors import exit_status
from shared.training.fit import ClassificationRun
from shared.training.protocol import Protocol
from shared.training.run import train_run


def tiny(epochs: int = 3, **changes: object) -> Protocol:
    recipe: dict[str, object] = {
        "epochs": epochs,
        "batch_size": 100,
        "optimiser": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "spare": ["norm", "bias"]},
        "schedule": {"name": "cosine", "warmup_epochs": 0.5},
        "augment": {"pad_crop": 2},
        "label_smoothing": 0.1,
        "ema_decay": 0.9,
    }
    trainer = {"accelerator": "cpu"} | dict(changes.pop("trainer", {}))  # type: ignore[call-overload]
    return Protocol.model_validate(
        {
            "what": "a few seconds on the embedded digits",
            "data": "mnist5k",
            "arms": {"ghost": {"builder": "ghost_vgg16", "args": {"width": 0.0625, "s": 2, "d": 3}}},
            "recipe": recipe | changes,
            "trainer": trainer,
        }
    )


def run(protocol: Protocol) -> ClassificationRun:
    return ClassificationRun("ghostnet", "tiny", protocol, "ghost", 0)


class Linear(ClassificationRun):
    """A network without batch statistics, so that a gradient is the mean over whatever the batch is."""

    def build(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))


if __name__ == "__main__":
    devices, batch = (int(word) for word in [*sys.argv[2:], *("1", "100")[len(sys.argv) - 2 :]])
    strategy = "ddp" if devices > 1 else "auto"
    one = run(tiny(batch_size=batch, trainer={"devices": devices, "strategy": strategy}))
    sys.exit(exit_status(lambda: train_run(one, Path(sys.argv[1]))))
