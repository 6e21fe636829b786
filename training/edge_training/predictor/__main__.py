"""`python -m edge_training.predictor`: serve on EDGE_PREDICTOR_ADDRESS (all) and EDGE_PREDICTOR_PORT (8480)."""

from __future__ import annotations

import os

import uvicorn

from edge_training.predictor.app import create_app
from edge_training.predictor.settings import Settings

if __name__ == "__main__":
    settings = Settings.from_environment(os.environ)
    uvicorn.run(create_app(settings), host=settings.address, port=settings.port, access_log=False, server_header=False)
