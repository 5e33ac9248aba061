"""What the tests of the simulation share: each gives back the logs' configuration, which its house's watch takes."""

from collections.abc import Iterator

import pytest

from tests.sim.play import quieted


@pytest.fixture(autouse=True)
def _quieted() -> Iterator[None]:
    """Let no other test be listened to by this one's watch."""
    with quieted():
        yield
