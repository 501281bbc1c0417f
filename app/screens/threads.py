"""A function in a thread of its own, awaited by the screen."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, abandoned: bool) -> T:
    """What ``work`` returns or raises.

    When nobody waits any more, or the program is left, a thread that may be ``abandoned`` ends
    with the program. Any other is waited for, so what it does must know how to be stopped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(give: Callable[[], None]) -> None:
        # The loop is closed when the program has been left meanwhile: nobody wants to know.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else give())

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(result))

    # In the caller's context: the toolkit looks there for the app that messages are for.
    within = contextvars.copy_context()
    threading.Thread(target=within.run, args=(run,), daemon=abandoned, name="whodiff-work").start()
    return await future
