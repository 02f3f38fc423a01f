import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from shared.datasets import Split, datamodule, spec
from shared.datasets.augment import Augment
from shared.datasets.loader import EpochLoader
from shared.datasets.memory import InMemory
from shared.errors import DataError, UsageError

SPEC = spec("mnist5k").model_copy(update={"counts": {"train": 50, "test": 20}, "shape": (1, 8, 8)})
AUGMENT = Augment(pad_crop=2, flip=True, cutout=3)


def made_up(split: str) -> Split:
    count = SPEC.counts[split]
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count) % 10)


def module(**options) -> InMemory:
    return InMemory(SPEC, made_up, **{"batch_size": 8, "augment": AUGMENT, "seed": 0, **options})


class Probe(pl.LightningModule):
    """Keeps what it is given, and stops where it is told to."""

    def __init__(self, stop: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.stop = stop
        self.seen: list[tuple[int, int, torch.Tensor, torch.Tensor]] = []
        self.tested: list[torch.Tensor] = []

    def training_step(self, batch, batch_idx):
        images, targets = batch
        self.seen.append((self.current_epoch, batch_idx, images.clone(), targets.clone()))
        if self.stop == (self.current_epoch, batch_idx):
            raise RuntimeError("killed")
        return nn.functional.cross_entropy(self.layer(images.flatten(1)), targets)

    def validation_step(self, batch, batch_idx):
        self.tested.append(batch[0].clone())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder, probe: Probe, resume: str | None = None) -> Probe:
    keep = pl.callbacks.ModelCheckpoint(
        folder, every_n_train_steps=1, save_last=True, save_top_k=0, enable_version_counter=False
    )
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=[keep], enable_progress_bar=False,
        enable_model_summary=False, reload_dataloaders_every_n_epochs=1, use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(probe, module(), ckpt_path=resume)
    return probe


def test_a_run_killed_in_mid_epoch_goes_on_with_the_next_batch(tmp_path):
    torch.manual_seed(0)
    whole = fit(tmp_path / "whole", Probe())
    torch.manual_seed(0)
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path / "cut", Probe(stop=(1, 3)))
    rest = fit(tmp_path / "cut", Probe(), str(tmp_path / "cut" / "last.ckpt"))
    assert [entry[:2] for entry in rest.seen] == [(1, 3), (1, 4), (1, 5), (1, 6)]
    for ours, theirs in zip(rest.seen, whole.seen[-4:], strict=True):
        assert torch.equal(ours[2], theirs[2]) and torch.equal(ours[3], theirs[3])
    assert torch.equal(rest.layer.weight, whole.layer.weight)


def test_training_is_augmented_and_evaluation_is_only_normalised(tmp_path):
    probe = fit(tmp_path, Probe())
    test = torch.cat(probe.tested[:3])
    plain = (made_up("test").images.float() / 255 - SPEC.mean[0]) / SPEC.std[0]
    assert torch.allclose(test, plain, atol=1e-6)
    first, second = probe.seen[0][2], probe.seen[7][2]
    assert first.shape == (8, 1, 8, 8) and first.dtype == torch.float32
    assert not torch.equal(first, second)


def transformed(split: str, *, training: bool = False, **recipe) -> torch.Tensor:
    """All images of a split as the network sees them."""
    data, count = module(augment=Augment.model_validate(recipe)), SPEC.counts[split]
    batch = (made_up(split).images, torch.zeros(count, dtype=torch.int64), torch.arange(count))
    return data.transform(batch, training=training)[0]


def test_unit_normalisation_divides_by_255_and_does_no_more():
    for training in (False, True):
        assert torch.equal(
            transformed("train", training=training, normalisation="unit"), made_up("train").images.float() / 255
        )


def test_stated_statistics_stand_in_the_place_of_the_data_sets():
    found = transformed("test", statistics={"mean": [0.5], "std": [0.25]})
    assert torch.allclose(found, (made_up("test").images.float() / 255 - 0.5) / 0.25)


def test_whitening_is_fitted_on_the_training_split_and_comes_before_the_crop():
    from shared.datasets import whiten

    fitted = whiten.fit(made_up("train").images)
    for split in ("train", "test"):
        assert torch.equal(transformed(split, normalisation="zca"), fitted.apply(made_up(split).images))
    cropped = transformed("train", training=True, normalisation="zca", pad_crop=2)
    assert set(cropped.unique().tolist()) <= {0.0, *fitted.apply(made_up("train").images).unique().tolist()}


def test_an_epoch_visits_each_sample_once_and_drops_a_last_batch_of_one():
    data = module(batch_size=7)
    data.setup()
    batches = list(data.train_dataloader())
    assert [len(labels) for _, labels, _ in batches] == [7] * 7  # 50 = 7 * 7 + 1
    for images, labels, index in batches:
        assert images.dtype == torch.uint8
        assert torch.equal(images, made_up("train").images[index]) and torch.equal(labels, index % 10)


def test_the_limit_keeps_the_first_samples():
    data = module(limit=10)
    data.setup()
    assert sorted(i for _, _, index in data.train_dataloader() for i in index.tolist()) == list(range(10))


def test_settings_that_do_not_fit_the_set_are_refused():
    with pytest.raises(UsageError, match="random_resized_crop"):
        module(augment=Augment.model_validate({"random_resized_crop": {"size": 8}}))
    with pytest.raises(UsageError, match="colour"):
        module(augment=Augment.model_validate({"randaugment": {"n": 1, "m": 5}}))
    with pytest.raises(UsageError, match=r"\(8, 8\) pixels has no 8 to reflect"):
        module(augment=Augment(pad_crop=8, padding="reflect"))
    with pytest.raises(UsageError, match="did you mean"):
        datamodule("mnist", batch_size=8, augment=Augment(), seed=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_error_inside_a_worker_arrives_as_itself(workers):
    with pytest.raises(DataError, match=r"^picture 3: cannot be decoded$"):
        list(EpochLoader(FailingRows(), [torch.arange(4)], workers=workers))


class FailingRows(torch.utils.data.Dataset):
    def __getitem__(self, index):
        raise DataError("picture 3: cannot be decoded")
