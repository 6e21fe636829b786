"""`python -m edge_training.manager`: serve on EDGE_MANAGER_ADDRESS (all) and EDGE_MANAGER_PORT (8470), over TLS.

It ends by itself when the Docker Engine's socket is gone, to be started anew by the engine.
"""

from __future__ import annotations

import asyncio
import logging
import os

import uvicorn

from edge_training.manager.app import create_app
from edge_training.manager.engine import until_away
from edge_training.manager.settings import Settings

# What is under way then is ended by edge-commit.
SHUTDOWN_SECONDS = 10
AWAY_SECONDS = 15


async def serve(server: uvicorn.Server) -> None:
    async def end() -> None:
        await until_away(AWAY_SECONDS)
        logging.getLogger("uvicorn.error").error(
            "no Docker Engine behind its socket for %s seconds: ending, to be started anew", AWAY_SECONDS
        )
        server.should_exit = True

    watching = asyncio.create_task(end())
    await server.serve()
    watching.cancel()


if __name__ == "__main__":
    settings = Settings.from_environment(os.environ)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.address,
        port=settings.port,
        ssl_certfile=settings.config_dir / "tls.crt",
        ssl_keyfile=settings.config_dir / "tls.key",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    asyncio.run(serve(uvicorn.Server(config)))
