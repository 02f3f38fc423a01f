from __future__ import annotations

from typing import Any

import pytest

from tests.timm_oracle import import_timm


@pytest.fixture(scope="session")
def timm() -> Any:
    return import_timm()
