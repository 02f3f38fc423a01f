"""What happens beside the training step."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn

from shared.training.callbacks import Averages


def test_averages_on_a_gpu_are_lightnings_to_rounding() -> None:
    """The arithmetic of a GPU, carried out on the CPU; whole numbers, which Lightning averages too, are copied."""

    class Module(nn.Module):
        def __init__(self, device: str) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.norm = nn.BatchNorm1d(3)
            self.device = torch.device(device)

    def averaged(callback: EMAWeightAveraging, device: str) -> dict[str, Tensor]:
        module, trainer = Module(device), SimpleNamespace(global_step=0, strategy=SimpleNamespace(root_device=None))
        callback._device = torch.device("cpu")
        callback._average_model = torch.optim.swa_utils.AveragedModel(
            module, avg_fn=torch.optim.swa_utils.get_ema_avg_fn(0.9), use_buffers=True
        )
        for number in range(1, 5):
            module.norm.weight.data.add_(number)
            module.norm.running_mean.add_(number)  # type: ignore[union-attr]
            module.norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            for step in (number, number):  # the second time no step was made
                trainer.global_step = step
                callback.on_train_batch_end(trainer, module, None, None, 0)  # type: ignore[arg-type]
        return callback._average_model.state_dict()

    lightnings, cpu, gpu = (
        averaged(callback, device)
        for callback, device in (
            (EMAWeightAveraging(decay=0.9), "cpu"),
            (Averages(0.9), "cpu"),
            (Averages(0.9), "cuda"),
        )
    )
    for name, value in lightnings.items():
        assert torch.equal(cpu[name], value)
        if value.is_floating_point():
            torch.testing.assert_close(gpu[name], value)
    assert gpu["n_averaged"] == lightnings["n_averaged"] == 4
    assert gpu["module.norm.num_batches_tracked"] == 4
    assert float(gpu["module.norm.weight"][0]) == pytest.approx(((2 * 0.9 + 0.4) * 0.9 + 0.7) * 0.9 + 1.1)
