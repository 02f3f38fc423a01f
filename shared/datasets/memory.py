"""The Lightning data modules: small sets in memory; augmentation in whole batches on the device."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shared.datasets import augment as ops
from shared.datasets import whiten
from shared.datasets.augment import Augment
from shared.datasets.loader import EpochLoader
from shared.datasets.order import test_batches, training_batches
from shared.datasets.spec import SPLITS, DatasetSpec, Split, SplitName
from shared.errors import UsageError

Batch = tuple[Tensor, Tensor, Tensor]

PIXELS = 2**20  # those of 1,024 CIFAR images


class ImageDataModule(pl.LightningDataModule):
    """Batches of images for a classification run.

    The loaders yield (uint8 images (N, C, H, W), int64 labels (N,), int64 indices (N,)). Once on the device they
    become (float32 images, targets): targets are labels (N,), or probabilities (N, classes) after mixup or cutmix.

    Args:
        spec: the data set.
        batch_size: samples in a step, over all processes together.
        augment: what happens to a training image; test images are only normalised.
        seed: of the run; with the epoch and the sample's index it decides every random choice.
        workers: processes that decode; 0 decodes in this one.
        limit: keep only the first samples of each split.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        *,
        batch_size: int,
        augment: Augment,
        seed: int,
        workers: int = 0,
        limit: int | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.batch_size = batch_size
        self.augment = augment
        self.seed = seed
        self.workers = workers
        self.limit = limit
        self.data: dict[str, Any] = {}
        self._whitening: whiten.Whitening | None = None
        if augment.padding == "reflect" and augment.pad_crop >= min(spec.shape[1:]):
            raise UsageError(f"{spec.name}: an image of {spec.shape[1:]} pixels has no {augment.pad_crop} to reflect")
        if augment.randaugment and spec.shape[0] != 3:
            raise UsageError(f"{spec.name}: randaugment needs colour images; leave it out of the recipe")

    @abstractmethod
    def open(self, split: SplitName) -> Any:
        """What `dataset` reads a split from."""

    @abstractmethod
    def dataset(self, split: SplitName, epoch: int) -> Dataset:
        """A data set whose item for int64 indices (N,) is a whole batch."""

    def prepare_data(self) -> None:
        """Fetch and verify, in one process of each machine while the others wait."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read both splits, once in each process."""
        if not self.data:
            self.data = {split: self.open(split) for split in SPLITS}

    def length(self, split: SplitName) -> int:
        """The number of samples in use."""
        count = len(self.data[split])
        return count if self.limit is None else min(count, self.limit)

    def train_dataloader(self) -> EpochLoader:
        """The batches of the trainer's current epoch (so reload_dataloaders_every_n_epochs must be 1)."""
        epoch, rank, world = self._place()
        batches = training_batches(
            self.length("train"), self.batch_size, seed=self.seed, epoch=epoch, rank=rank, world=world
        )
        if not batches:
            raise UsageError(f"{self.length('train')} training samples make no batch of 2 or more; raise the limit")
        return EpochLoader(
            self.dataset("train", epoch), batches, epoch=epoch, workers=self.workers, pin=self._device.type == "cuda"
        )

    def val_dataloader(self) -> EpochLoader:
        """The test split, each sample once over all processes."""
        _, rank, world = self._place()
        size = evaluation_batch(self.spec, self.batch_size, self._device)
        batches = test_batches(self.length("test"), size, rank=rank, world=world)
        return EpochLoader(self.dataset("test", 0), batches, workers=self.workers, pin=self._device.type == "cuda")

    def test_dataloader(self) -> EpochLoader:
        """The same as `val_dataloader`: the project keeps no third split."""
        return self.val_dataloader()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> tuple[Tensor, Tensor]:
        """Augment (in training) and normalise a batch on the device it is on."""
        trainer = self.trainer
        training = trainer is not None and trainer.training
        return self.transform(batch, training=training, epoch=trainer.current_epoch if trainer else 0)

    def transform(self, batch: Batch, *, training: bool, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """The float32 images and the targets of a batch, as the network sees them."""
        images, labels, index = batch
        recipe, where = self.augment, {"seed": self.seed, "epoch": epoch}
        if recipe.normalisation == "zca":
            images = self._whiten(images)
        if training and (recipe.pad_crop or recipe.flip):
            reflect = recipe.padding == "reflect"
            images = ops.pad_crop_flip(images, index, pad=recipe.pad_crop, flip=recipe.flip, reflect=reflect, **where)
        if recipe.normalisation != "zca":
            images = ops.to_unit(images)
        if training and recipe.color_jitter:
            images = ops.color_jitter(images, index, jitter=recipe.color_jitter, **where)
        if training and recipe.randaugment:
            from shared.datasets.mixing import rand_augment

            images = rand_augment(images, index, recipe.randaugment, **where)
        if recipe.normalisation == "dataset":
            by = recipe.statistics or self.spec
            images = ops.normalise(images, by.mean, by.std)
        if not training:
            return images, labels
        if recipe.cutout:
            images = ops.cutout(images, index, size=recipe.cutout, **where)
        if recipe.erase:
            images = ops.erase(images, index, recipe=recipe.erase, **where)
        if recipe.mixup or recipe.cutmix:
            from shared.datasets.mixing import mix

            return mix(images, labels, index, recipe, self.spec.classes, **where)
        return images, labels

    def _whiten(self, images: Tensor) -> Tensor:
        """Whitened by the whole training split, whatever `limit` says; fitted when the first batch asks for it."""
        if self._whitening is None:
            train = self.data["train"] if "train" in self.data else self.open("train")
            self._whitening = whiten.fit(train.images)
        self._whitening = self._whitening.to(images.device)
        return self._whitening.apply(images)

    def _place(self) -> tuple[int, int, int]:
        """(epoch, rank, number of processes); (0, 0, 1) outside a trainer."""
        if self.trainer is None:
            return 0, 0, 1
        return self.trainer.current_epoch, self.trainer.global_rank, self.trainer.world_size

    @property
    def _device(self) -> torch.device:
        """What the batches are for; outside a trainer the CPU."""
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device


def evaluation_batch(spec: DatasetSpec, batch_size: int, device: torch.device) -> int:
    """How many images are evaluated at once: on a GPU PIXELS, if that is more; on a CPU a result's last bits stay."""
    return batch_size if device.type == "cpu" else max(batch_size, PIXELS // (spec.shape[1] * spec.shape[2]))


class InMemory(ImageDataModule):
    """A set whose images are all in memory as uint8; `read` gives a split."""

    def __init__(self, spec: DatasetSpec, read: Callable[[SplitName], Split], **options: Any) -> None:
        super().__init__(spec, **{**options, "workers": 0})  # indexing memory is faster than sending it to a process
        self._read = read
        if self.augment.random_resized_crop or self.augment.eval:
            raise UsageError(f"{spec.name}: random_resized_crop and eval are for sets whose images differ in size")

    def open(self, split: SplitName) -> Split:
        """The split's images and labels."""
        return self._read(split)

    def dataset(self, split: SplitName, epoch: int) -> Dataset:
        """Rows of the split; the epoch makes no difference here."""
        return _Rows(self.data[split])


class _Rows(Dataset):
    def __init__(self, data: Split) -> None:
        self.data = data

    def __getitem__(self, index: Tensor) -> Batch:
        # Whole rows are copied: ten times as fast as indexing them.
        return self.data.images.index_select(0, index), self.data.labels[index], index
