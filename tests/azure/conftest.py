"""What tests against the local Azure Speech service share: the service of a module, clean for each test, and an SDK."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.azure.emulator_process import EmulatorProcess, azure_emulator
from tests.azure.sdk_runner import SdkRunner, sdk_runner


@pytest.fixture(scope="module")
def service() -> Generator[EmulatorProcess]:
    """One for the whole module; a module that wants another has a fixture of this name."""
    with azure_emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(service: EmulatorProcess) -> EmulatorProcess:
    """The module's, as if nothing had happened yet."""
    service.reset()
    return service


@pytest.fixture(scope="module")
def sdk() -> Generator[SdkRunner]:
    """The genuine SDK, in a process of its own."""
    with sdk_runner() as runner:
        yield runner
