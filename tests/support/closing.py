"""How the tests' own servers close."""

import asyncio


async def close_server(server: asyncio.Server) -> None:
    """Close a server of the running loop. asyncio would lose a connection that it accepted a moment before."""
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)
    server.close()
