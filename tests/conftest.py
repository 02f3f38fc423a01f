from __future__ import annotations

from typing import Any

import pytest

from tests.evidence import Outcomes
from tests.timm_oracle import import_timm


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # of several processes, the one that hears of every test
        config.pluginmanager.register(Outcomes())


@pytest.fixture(scope="session")
def timm() -> Any:
    return import_timm()
