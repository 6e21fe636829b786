"""`python -m edge_training.dashboard`: serve over TLS on EDGE_DASHBOARD_ADDRESS (all), EDGE_DASHBOARD_PORT (8443)."""

from __future__ import annotations

import os

import uvicorn

from edge_training.dashboard.app import create_app
from edge_training.dashboard.settings import Settings

# Streams end at once, answers are short, and jobs are processes of their own.
SHUTDOWN_SECONDS = 1

if __name__ == "__main__":
    settings = Settings.from_environment(os.environ)
    uvicorn.run(
        create_app(settings),
        host=settings.address,
        port=settings.port,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # an address is who connects: attempts are counted by it
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
