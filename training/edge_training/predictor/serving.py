"""Which model answers, and how another one takes its place while requests come in.

What to begin with stands in a file that the device keeps, `{"digest": "sha256:<hex>"}`. From then on `activate` in the
container says which: it speaks to a socket that only the container has, so whoever may enter the container may say it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio.to_thread import run_sync

from edge_training.bundle import BundleError
from edge_training.predictor.model import Model, load
from edge_training.predictor.settings import Settings

LONGEST_LINE = 256


class Serving:
    """The model that answers, if any; else `reason` says why not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()
        self.model: Model | None = None
        self.reason = "it is being loaded; try again soon"

    async def begin(self) -> None:
        """With the model of the device's file. One that cannot be used is told of in `reason`."""
        try:
            await self.activate(chosen(self._settings.serving_file))
        except BundleError as error:
            self.reason = str(error)

    async def activate(self, digest: str) -> None:
        """This model answers from now on. Requests that are being answered keep theirs.

        Raises:
            BundleError: it is missing, damaged, or answers wrongly; the one before goes on.
        """
        async with self._turn:
            try:
                self.model = await run_sync(load, self._settings, digest)
            except BundleError:
                raise
            except Exception as error:  # whoever made the bundle may have put anything into it
                raise BundleError(f"{digest}: it cannot be loaded: {error!r}; export the model again") from error

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """A line with a digest in, a line of JSON out: `{"digest": ...}`, or `{"reason": ...}` where it is refused."""
        path = self._settings.socket
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._answer, path, limit=LONGEST_LINE)
        finally:
            os.umask(before)
        async with server:
            yield
        path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            digest = (await reader.readline()).decode(errors="replace").strip()
            await self.activate(digest)
            said = {"digest": digest}
        except (BundleError, ValueError) as error:  # ValueError: a line that is too long
            said = {"reason": str(error)}
        try:
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass  # who asked is gone; the file and the next `activate` tell
        finally:
            writer.close()


def chosen(file: Path) -> str:
    """The digest that the device's file names.

    Raises:
        BundleError: there is none to read.
    """
    try:
        digest = json.loads(file.read_text())["digest"]
    except FileNotFoundError as error:
        raise BundleError(
            f"{file} is not there: no model was activated on this device yet (edge.rack.serve)"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{file} cannot be read ({error!r}): activate a model again (edge.rack.serve)") from error
    return str(digest)
