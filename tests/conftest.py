"""What all tests share: quiet logs, hypothesis without deadlines, because no test asserts a time, and their order."""

import gc
import logging

import hypothesis
import pytest
import structlog

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("house")
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what forks: it fills both cores while the worker beside it waits for sockets, and the rest is short."""
    items.sort(key=lambda item: item.path.name != "test_proof.py")


def pytest_collection_finish() -> None:
    """Spare the collector what lives to the end anyway, and the hundreds of looks that it takes in a second."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
