"""Sent once means once: aiohttp repeats GET, PUT and DELETE by itself when a kept connection was lost; this stops it.

A session of an adapter that must never repeat a write (`failures.md` rule 1) gets `send_once` as its middleware.
"""

import aiohttp

__all__ = ["send_once"]


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Hide a lost connection from aiohttp's own repeat; it surfaces as `aiohttp.ClientOSError`."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, and aiohttp does not repeat it
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionResetError(str(error) or "the connection was lost") from error
