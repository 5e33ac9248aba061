"""What all tests share: quiet logs, and hypothesis without deadlines, because no test asserts a time."""

import logging

import hypothesis
import structlog

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("house")
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
