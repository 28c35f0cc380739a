"""The part of the typed client that is about models: those here, those to be had, and those of the mesh."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from device.api_of_models import Deleted, MeshModels, Model, Models, PullProgress, Removed, Verification
from device.api_of_record import OnRecord
from device.connection import DONE, Connection, segment, translated
from device.errors import UnexpectedReplyError
from device.socket_http import Upload


@dataclass(frozen=True)
class Download:
    """A file on its way here: how many bytes it has, and they, in pieces."""

    size: int
    pieces: AsyncIterator[bytes]


class ModelsClient(Connection):
    """What one asks of a daemon's models."""

    async def models(self) -> Models:
        """The store and the catalogue."""
        return self._parse(Models, await self._call("GET", "/api/models"))

    async def mesh_models(self) -> MeshModels:
        """What the nodes in reach hold, and whether it would fit here."""
        return self._parse(MeshModels, await self._call("GET", "/api/mesh/models"))

    async def model(self, name: str) -> Model:
        """One model of the store, by name or digest."""
        return self._parse(Model, await self._call("GET", f"/api/models/{segment(name)}"))

    async def remove(self, name: str) -> Deleted:
        """Remove a model from the store, or give one up that is on its way."""
        return self._parse(Deleted, await self._call("DELETE", f"/api/models/{segment(name)}"))

    async def pin(self, name: str) -> Model:
        """Keep a model whatever the quota says."""
        return self._parse(Model, await self._call("PUT", f"/api/models/{segment(name)}/pin"))

    async def unpin(self, name: str) -> Model:
        """Let a model be removed again when the quota wants it."""
        return self._parse(Model, await self._call("DELETE", f"/api/models/{segment(name)}/pin"))

    async def pull(self, name: str, *, anyway: bool = False) -> AsyncGenerator[PullProgress | Removed | Model, None]:
        """Fetch a model from neighbours or the catalogue; the last item is the model.

        anyway: also one that will hardly fit the board.
        What was removed to make room for it is told too.  Closing the iterator stops the pull; what arrived is kept for
        the next one.
        """
        events = self._events("POST", "/api/models/pull", {"name": name, "anyway": anyway}, what=f"the pull of {name}")
        async with aclosing(events):
            async for fields in events:
                yield self._arriving(fields)

    async def import_bundle(
        self, bundle: Upload, *, name: str = ""
    ) -> AsyncGenerator[PullProgress | Removed | Model, None]:
        """Install the model of a bundle; the items are those of a pull.  name: what to call it, where not as there.

        Closing the iterator stops the import; nothing of it stays.
        """
        query = f"?{urlencode({'name': name})}" if name else ""
        events = self._events("POST", f"/api/models/import{query}", bundle, what="the import")
        async with aclosing(events):
            async for fields in events:
                yield self._arriving(fields)

    @asynccontextmanager
    async def export_bundle(self, name: str) -> AsyncIterator[Download]:
        """Open a model as a bundle; leaving the context before its end stops it."""
        async with self._download(f"/api/models/{segment(name)}/bundle", what="the bundle") as bundle:
            yield bundle

    async def verify(self, name: str = "") -> AsyncGenerator[PullProgress | Verification, None]:
        """Have every file of a model, or of all, read and compared; the last item says what was found."""
        events = self._events("POST", "/api/models/verify", {"name": name}, what="the verification")
        async with aclosing(events):
            async for fields in events:
                if fields.get("stage") == DONE:
                    yield self._parse(Verification, fields.get("verification"))
                else:
                    yield self._parse(PullProgress, fields)

    async def publish(self, name: str) -> AsyncGenerator[PullProgress | OnRecord, None]:
        """Publish a model that is here in the community's record; the last item is what the record says of it then."""
        events = self._events("POST", "/api/models/publish", {"name": name}, what=f"publishing {name}")
        async with aclosing(events):
            async for fields in events:
                if fields.get("stage") == DONE:
                    yield self._parse(OnRecord, fields.get("on_record"))
                else:
                    yield self._parse(PullProgress, fields)

    async def retire(self, name: str, *, reason: str = "") -> OnRecord:
        """Take a published model back, be it here or not."""
        return self._parse(OnRecord, await self._call("POST", "/api/models/retire", {"name": name, "reason": reason}))

    @asynccontextmanager
    async def _download(self, path: str, *, what: str) -> AsyncIterator[Download]:
        with translated(self.socket_path, self._data_dir):
            async with self._request("GET", path, None) as reply:
                if reply.size is None:
                    raise UnexpectedReplyError(f"the daemon does not say how large {what} is")
                yield Download(reply.size, reply.pieces())

    def _arriving(self, fields: dict[str, Any]) -> PullProgress | Removed | Model:
        match fields.get("stage"):
            case "done":
                return self._parse(Model, fields.get("model"))
            case "removed":
                return self._parse(Removed, fields.get("removed"))
        return self._parse(PullProgress, fields)
