"""The cards of this node's models as the owner sees and changes them, and where the models come from."""

import asyncio
from collections.abc import Mapping

from device.api import Community
from device.api_of_record import OnRecord
from device.card_view import ModelCard, Sharing
from device.library import Library
from device.wording import named, short_id
from mesh.core.crypto import node_id, raw_id
from models.core.card import Card
from models.core.lineage import Ancestor, Held, lineage
from models.store import StoredModel


class ModelCards:
    """What the owner does with cards.  Names are looked up as everywhere: by name or the beginning of a digest."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def digest(self, key: str) -> str:
        """Return which model that is.  Raises ModelNotFoundError, AmbiguousModelError."""
        return self._library.find(key).digest

    def shown(self, key: str, community: Community | None, said: Mapping[str, OnRecord]) -> ModelCard:
        """Return a model's card.  said: what the record says of models, by digest.

        Raises ModelNotFoundError, AmbiguousModelError.
        """
        model = self._library.find(key)
        known, refusal = self._library.cards.of(model), self._library.cards.refusal(model)
        publisher = known.release.publisher.hex() if known.release else ""
        on_record = said.get(model.digest)
        sharing = Sharing(
            name=model.name,
            digest=model.digest,
            shared=refusal is None,
            reason=refusal.reason if refusal else known.card.judgement().reason,
            hint=refusal.hint.replace("NAME", model.name) if refusal else "",
            publisher=publisher,
            signed_by=signer(publisher, community),
            published_by=on_record.published_by if on_record else (),
            retired=on_record.retired if on_record else "",
        )
        return ModelCard(known.card, sharing)

    async def keep(self, key: str, card: Card) -> StoredModel:
        """Make a card the owner's.  Raises as `shown`, and DiskFullError, StoreWriteError."""
        model = self._library.find(key)
        await asyncio.to_thread(self._library.cards.keep, model.digest, card)
        self._library.cards_changed()
        return model

    def lineage(self, key: str, community: Community | None) -> Ancestor:
        """Return the tree of a model's ancestors.  Raises ModelNotFoundError, AmbiguousModelError."""
        held = {model.digest: self._held(model, community) for model in self._library.stored}
        return lineage(self._library.find(key).digest, held)

    def _held(self, model: StoredModel, community: Community | None) -> Held:
        said = self._library.cards.of(model)
        publisher = said.release.publisher.hex() if said.release else ""
        return Held(card=said.card, publisher=publisher, signed_by=signer(publisher, community))


def signer(publisher: str, community: Community | None) -> str:
    """Say who signs with a public key (hexadecimal): a member by name, another by the node id that the key has."""
    if not publisher:
        return ""
    signed_by = node_id(raw_id(bytes.fromhex(publisher)))
    members = community.members if community else ()
    return next(
        (named(one.name, one.node_id) for one in members if one.node_id == signed_by),
        f"node {short_id(signed_by)}, no member of this community",
    )
