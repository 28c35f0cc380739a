"""What the owner's view of cards says of signers, and of answers that do not fit."""

import pytest

from device.api import Community, Member
from device.card_view import ModelCard, Sharing
from device.errors import UnexpectedReplyError
from device.model_cards import signer
from mesh.core import crypto
from models.core.card import Card

PUBLIC = crypto.ed25519_public(bytes(32))
NODE_ID = crypto.node_id(crypto.raw_id(PUBLIC))
VIEW = ModelCard(Card(name="n"), Sharing(name="n", digest="a" * 64, shared=True, reason="r"))


def test_a_signer_has_a_name_where_the_community_knows_it() -> None:
    """Another has the beginning of its id, nobody nothing."""
    ember = Member(node_id=NODE_ID, name="ember", role="voter")
    community = Community(id="c", name="street", members=(ember,))
    assert signer(PUBLIC.hex(), community) == f"ember ({NODE_ID[:8]})"
    assert signer(PUBLIC.hex(), None) == f"node {NODE_ID[:8]}, no member of this community"
    assert signer("", community) == ""


def test_a_view_survives_the_socket() -> None:
    """As JSON."""
    assert ModelCard.from_fields(VIEW.to_fields()) == VIEW


@pytest.mark.parametrize("fields", [None, {}, VIEW.to_fields() | {"card": None}, {"card": VIEW.card.to_fields()}])
def test_an_answer_that_does_not_fit(fields: object) -> None:
    """Is an error of ours."""
    with pytest.raises(UnexpectedReplyError):
        ModelCard.from_fields(fields)
