"""The loader of one epoch: whole batches, and a place to go on from after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class _Batches:
    """A sampler that starts behind the batches already used."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches
        self.start = 0

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches[self.start :])

    def __len__(self) -> int:
        return len(self.batches)


class EpochLoader(DataLoader):
    """Hands whole batches of sample indices to `dataset[indices]`, in the order of `batches`.

    Its state is the epoch and the number of batches given out; Lightning stores it in a checkpoint, so that an
    interrupted epoch goes on with the next batch. The length stays that of the whole epoch. With `pin` batches come in
    memory from which a GPU fetches them by itself, where it would wait for other memory in every step.
    """

    def __init__(
        self, dataset: Dataset, batches: list[Tensor], *, epoch: int = 0, workers: int = 0, pin: bool = False
    ) -> None:
        self.epoch = epoch
        self.given = 0
        self._order = _Batches(batches)
        super().__init__(
            dataset,
            batch_size=None,
            sampler=self._order,
            num_workers=workers,
            pin_memory=pin,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, which counts what it gives
        self.given = self._order.start
        for batch in super().__iter__():
            self.given += 1
            yield batch
        self._order.start = 0

    def __len__(self) -> int:
        return len(self._order)

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its batches were given out."""
        return {"epoch": self.epoch, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches that were given out, when the state is of this epoch."""
        if state["epoch"] == self.epoch:
            self._order.start = state["given"]
