"""What all tests share: quiet logs, hypothesis without deadlines, because no test asserts a time, order and workers."""

import gc
import logging
from typing import Any, Final

import hypothesis
import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("house")
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

# What one worker runs, because it shares something: over sockets the addresses, which are fixed; the planted bugs a past.
TOGETHER: Final = ("tests/integration/", "tests/sim/test_planted_bugs.py")
# What waits for sockets, and what forks and fills both cores meanwhile; the rest is short, so that both end together.
FIRST: Final = ("tests/integration/", "tests/sim/test_proof.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Deal tests out one by one, but for those that belong together; xdist's marks do nothing with pytest 9.2's ids."""
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = lambda nodeid: next((one for one in TOGETHER if nodeid.startswith(one)), nodeid)
    return scheduling


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what `FIRST` names, in its order."""
    order = {
        item: next((at for at, one in enumerate(FIRST) if item.nodeid.startswith(one)), len(FIRST)) for item in items
    }
    items.sort(key=order.__getitem__)


def pytest_collection_finish() -> None:
    """Spare the collector what lives to the end anyway, and the hundreds of looks that it takes in a second."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
