"""One question to several who know the same: in turn, so that one answers where one does, and none holds up the rest.

It must never leave a question running behind it, and never ask all at once where the first one answers.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from cpcd.model.errors import Failure
from cpcd.ports.clock import Clock

__all__ = ["first_answer"]

T = TypeVar("T")


async def first_answer(questions: Sequence[Callable[[], Coroutine[Any, Any, T]]], clock: Clock, turn: float) -> T:
    """Return the first answer; the next is asked when one has failed, or has said nothing for `turn` seconds.

    Whoever is slow may still be the first to answer; the others' questions are cancelled. Raises the last Failure when
    all have failed. There has to be one question at least.
    """
    told: asyncio.Queue[T | Failure] = asyncio.Queue()

    async def ask(question: Callable[[], Coroutine[Any, Any, T]]) -> None:
        try:
            told.put_nowait(await question())
        except Failure as failure:
            told.put_nowait(failure)

    async with asyncio.TaskGroup() as group:
        waiting, asked, failed = list(questions), [], 0
        while True:
            if waiting:
                asked.append(group.create_task(ask(waiting.pop(0))))
            answer = await _told(told, clock, turn if waiting else None)
            failed += isinstance(answer, Failure)
            if answer is not None and (not isinstance(answer, Failure) or failed == len(questions)):
                break
        for task in asked:
            task.cancel()
    if isinstance(answer, Failure):
        raise answer
    return answer


async def _told(told: asyncio.Queue[T], clock: Clock, seconds: float | None) -> T | None:
    """Return the next that is told, None when nothing is by then."""
    if seconds is None:
        return await told.get()
    with contextlib.suppress(TimeoutError):
        async with clock.timeout(seconds):
            return await told.get()
    return None
