"""A model's card as it crosses the owner's socket, with what its node makes of it."""

from dataclasses import asdict, dataclass
from typing import Any

from device.errors import UnexpectedReplyError
from device.parsing import MalformedReplyError, parse
from models.core.card import Card
from models.errors import InvalidCardError


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Whose a card is and whether it lets its model be passed on: why, or why not, and what the owner can do then.

    publisher: public key of who signed the model, hexadecimal, "" where nobody did; signed_by: the same for people.
    published_by, retired: what the community's record says of the model, see `device.api_of_record.OnRecord`.
    """

    name: str
    digest: str
    shared: bool
    reason: str
    hint: str = ""
    publisher: str = ""
    signed_by: str = ""
    published_by: tuple[str, ...] = ()
    retired: str = ""


@dataclass(frozen=True)
class ModelCard:
    """The card of a model that is here."""

    card: Card
    sharing: Sharing

    def to_fields(self) -> dict[str, Any]:
        """Return the JSON object: the card under its own name, the rest beside it."""
        sharing = asdict(self.sharing) | {"published_by": [*self.sharing.published_by]}
        return sharing | {"card": self.card.to_fields()}

    @classmethod
    def from_fields(cls, fields: object) -> "ModelCard":
        """Read the JSON object.  Raises UnexpectedReplyError."""
        try:
            sharing = parse(Sharing, fields)
            return cls(Card.from_fields(fields.get("card") if isinstance(fields, dict) else None), sharing)
        except (MalformedReplyError, InvalidCardError) as error:
            raise UnexpectedReplyError(f"the daemon's answer does not fit: {error}") from error
