"""The simulated event loop: virtual time, a seeded order of ready handles, and nothing real.

Time jumps to the next timer when nothing is ready, so a build of an hour takes a second. Sockets, threads and
subprocesses are refused, asked of the loop or of Python itself: a simulation that touched one would not be repeatable.
"""

import asyncio
import collections
import contextlib
import functools
import itertools
import random
import selectors
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, NoReturn, TypeVar

__all__ = ["RealWorldError", "SimClock", "SimLoop", "SimTask", "simulate"]

T = TypeVar("T")

_REFUSED: Final = {
    "sockets": (
        "add_reader", "add_writer", "connect_accepted_socket", "create_connection", "create_datagram_endpoint",
        "create_server", "create_unix_connection", "create_unix_server", "getaddrinfo", "getnameinfo", "sendfile",
        "sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into",
        "sock_sendall", "sock_sendfile", "sock_sendto", "start_tls",
    ),
    "threads": ("call_soon_threadsafe", "run_in_executor"),
    "subprocesses": ("connect_read_pipe", "connect_write_pipe", "subprocess_exec", "subprocess_shell"),
    "signals": ("add_signal_handler",),
}  # fmt: skip

# What Python says when somebody goes past the loop: https://docs.python.org/3/library/audit_events.html
_AUDITED: Final = {
    "sockets": (
        "socket.__new__", "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr",
        "socket.gethostbyname", "socket.getnameinfo", "socket.sendmsg", "socket.sendto",
    ),
    "threads": ("threading.Thread.start",),  # of which Python says nothing by itself
    "subprocesses": ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"),
}  # fmt: skip


class RealWorldError(RuntimeError):
    """Something in a simulation tried to use a socket, a thread or a process."""


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that a set of tasks has the same order in every process."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "SimLoop", **options: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class _NoSelector(selectors.BaseSelector):
    """A selector that never has anything and lets virtual time pass instead of waiting."""

    def __init__(self, loop: "SimLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RealWorldError("the simulation waits for ever: nothing is ready and no timer is set")
        if timeout:
            self._loop.advance(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> NoReturn:
        raise RealWorldError("no sockets in a simulation")

    def unregister(self, fileobj: Any) -> NoReturn:
        raise RealWorldError("no sockets in a simulation")

    def get_map(self) -> Any:
        return {}

    def close(self) -> None:
        return


class SimLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time; `seed` decides the order of handles that are ready at once.

    Whatever reaches out of the process raises RealWorldError when it is called, not when it is awaited, and so does
    what goes past the loop to a socket, thread, or program while the loop runs (`simulate`).
    """

    _ready: collections.deque[asyncio.Handle]
    _asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]]

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._virtual = 0.0
        self.wakes = 0  # times that a process would have been woken
        self.judges: list[Callable[[], None]] = []  # asked at the end of `simulate`; one that raises fails the run
        self._dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._selector = _NoSelector(self)
        # BaseEventLoop takes timers that are due within it as due; virtual time is exact, so little is enough.
        self._clock_resolution = 1e-6
        self.numbers = itertools.count()
        self.set_task_factory(_task)  # type: ignore[arg-type] # typeshed wants the loop's base class

    def time(self) -> float:
        """Return virtual seconds."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        # A timer that is overdue asks for less than nothing.
        self._virtual += max(0.0, seconds)
        self.wakes += seconds > 0

    def reseed(self, seed: int) -> None:
        """Throw other dice from now on: many futures of one past."""
        self._dice.seed(seed)

    def _run_once(self) -> None:
        ready = self._ready
        # Handles that are ready together are in no order in the real loop's contract either: what relies on one fails
        # under some seed.
        if len(ready) > 1:
            shuffled = list(ready)
            self._dice.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc] # BaseEventLoop's own

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        """Close a forgotten generator on the spot: the collector comes at no set time, so nothing is scheduled."""
        self._asyncgens.discard(agen)
        with contextlib.suppress(StopIteration):
            agen.aclose().__await__().__next__()

    def _process_events(self, event_list: list[Any]) -> None:
        return

    def _write_to_self(self) -> None:
        return


def _task(loop: SimLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> SimTask:
    return SimTask(coro, loop=loop, **options)


def _refusal(what: str, name: str) -> Callable[..., NoReturn]:
    def refuse(_loop: SimLoop, *_args: Any, **_options: Any) -> NoReturn:
        raise RealWorldError(f"no {what} in a simulation ({name})")

    refuse.__name__ = name
    return refuse


for _what, _names in _REFUSED.items():
    for _name in _names:
        setattr(SimLoop, _name, _refusal(_what, _name))


_PAST_THE_LOOP: Final = {event: what for what, events in _AUDITED.items() for event in events}


def _past_the_loop(event: str, _given: tuple[Any, ...]) -> None:
    """Refuse what is done inside a simulation and not through its loop; everywhere else nothing is refused."""
    what = _PAST_THE_LOOP.get(event)
    if what is not None and isinstance(asyncio._get_running_loop(), SimLoop):  # noqa: SLF001 - the public one raises where none runs
        raise RealWorldError(f"no {what} in a simulation ({event})")


@functools.cache
def _seal() -> None:
    """Listen to what Python does, once a process: a hook cannot be taken away again, and two would both be asked."""
    sys.addaudithook(_past_the_loop)
    start = threading.Thread.start

    def start_outside(thread: threading.Thread) -> None:
        _past_the_loop("threading.Thread.start", ())
        start(thread)

    threading.Thread.start = start_outside  # type: ignore[assignment] # the one door that is not audited


class SimClock:
    """The clock of a simulation: the loop's virtual seconds."""

    def __init__(self, loop: SimLoop, epoch: float) -> None:
        self._loop, self._epoch = loop, epoch

    def now(self) -> float:
        """Return virtual seconds."""
        return self._loop.time()

    def wall(self) -> float:
        """Return virtual wall time."""
        return self._epoch + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep virtual seconds."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """Return an `async with` that cancels what takes longer than so many virtual seconds: TimeoutError."""
        return asyncio.timeout(seconds)


def simulate(main: Callable[[SimLoop], Coroutine[Any, Any, T]], *, seed: int) -> T:
    """Run a coroutine to its end in a loop of its own and return what it returns, unless one of the loop's judges raises."""
    _seal()
    loop = SimLoop(seed)
    try:
        asyncio.set_event_loop(loop)
        answer = loop.run_until_complete(main(loop))
        for judge in loop.judges:
            judge()
        return answer
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
