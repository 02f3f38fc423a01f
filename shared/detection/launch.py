"""One process for each device that a detector is trained on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import torch

from shared.errors import PapertrailError


@contextlib.contextmanager
def processes(count: int, command: Sequence[str]) -> Iterator[None]:
    """Join `count` processes, which compute one run together, for as long as the block lasts.

    Args:
        count: of processes; with one, nothing is done.
        command: arguments of Python by which a further process begins and comes to this very place. The first process
            starts the others, tells them their ranks as torchrun would, and ends them when its own block fails.

    Raises:
        PapertrailError: there are fewer GPUs than processes, or one of the others failed.
    """
    if count == 1:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda and torch.cuda.device_count() < count:
        raise PapertrailError(
            f"trainer.devices: {count} GPUs are wanted, {torch.cuda.device_count()} are here; lower trainer.devices "
            "(an equal recipe.batch_size then gives each GPU more images)"
        )
    with contextlib.nullcontext() if "RANK" in os.environ else _others(count, command):
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _others(count: int, command: Sequence[str]) -> Iterator[None]:
    """Start the processes of ranks 1 and higher, and wait for them in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    ranks = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    started = [subprocess.Popen([sys.executable, *command], env=os.environ | rank) for rank in ranks[1:]]
    os.environ.update(ranks[0])
    try:
        yield
        if any(process.wait() for process in started):
            raise PapertrailError("a process of this run failed; its message stands above")
    finally:
        for process in started:
            process.kill()
            process.wait()
        for name in ranks[0]:
            del os.environ[name]
