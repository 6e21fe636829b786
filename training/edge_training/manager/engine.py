"""The device's Docker Engine, through edge-commit's own client: what it says no to becomes an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import docker
import requests
from edge_commit.engine import Engine
from edge_commit.errors import CommitError, EngineAwayError

from edge_training.problem import ProblemError


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """For one request: an engine that has restarted since the last one is another."""
    with troubles():
        found = Engine()
        try:
            yield found
        finally:
            found.api.close()


@contextlib.contextmanager
def troubles() -> Iterator[None]:
    """Raises ProblemError for what the engine or edge-commit says no to."""
    try:
        yield
    except (EngineAwayError, requests.RequestException) as error:
        title = "The Docker Engine does not answer"
        raise ProblemError(503, title, f"{error}. Try again.", {"Retry-After": "5"}) from error
    except CommitError as error:
        raise ProblemError(502, "The container cannot be handled", str(error)) from error
    except docker.errors.DockerException as error:
        said = error.explanation if isinstance(error, docker.errors.APIError) else None
        raise ProblemError(502, "The Docker Engine refuses", str(said or error)) from error


def ask_once() -> None:
    """Make a client, which asks the engine for its version, and end it. Raises EngineAwayError."""
    Engine().api.close()


async def until_away(seconds: float) -> None:
    """Until the engine has not answered for so long.

    A socket that was made anew (docker.socket was restarted) is another file than the one mounted here, and only a new
    start of the container mounts that. An engine that is away itself starts its containers when it is back.
    """
    missed, pause = 0.0, seconds / 5
    while missed < seconds:
        await asyncio.sleep(pause)
        try:
            await asyncio.to_thread(ask_once)
            missed = 0.0
        except EngineAwayError:
            missed += pause
