from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from hypothesis import settings

from tests.evidence import Outcomes
from tests.timm_oracle import import_timm

# The suite that passed is the suite that a reader runs; `--hypothesis-profile=default` looks for new examples.
settings.register_profile("repeated", derandomize=True)
settings.load_profile("repeated")

# Triton reads it once, when something first imports it: without a GPU kernels are interpreted on the CPU.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# A suite that a shell started in the background ignores interrupts; the tests of interrupts mean a run that hears them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # of several processes, the one that hears of every test
        config.pluginmanager.register(Outcomes())


@pytest.fixture(scope="session")
def timm() -> Any:
    return import_timm()
