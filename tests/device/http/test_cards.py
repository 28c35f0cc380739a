"""Cards and lineage of a real node: through the owner's socket, and as guests see them."""

import json

import httpx
import pytest

from device.client import DaemonClient, RequestRefusedError
from device.node import HearthNode
from mesh.core import crypto
from models.core.card import Card, Parent
from models.core.release import Release

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEED = bytes(range(32))


@pytest.fixture
def client(node: HearthNode) -> DaemonClient:
    """The typed client."""
    return DaemonClient(node.config.socket_path)


@pytest.fixture(autouse=True)
def forgotten(node: HearthNode) -> None:
    """Nobody has said anything of the model yet."""
    for path in (node.config.data_dir / "models").glob("*s/*.json"):
        if path.parent.name in ("cards", "releases"):
            path.unlink()


async def _public_card(public: httpx.AsyncClient) -> dict[str, str]:
    card: dict[str, str] = (await public.get("/v1/models/tiny")).json()["hearthmesh"]["card"]
    return card


async def test_a_card_is_shown_changed_and_seen_by_guests(client: DaemonClient, public: httpx.AsyncClient) -> None:
    """At once; a licence that forbids it stops the sharing, with a hint that names the model."""
    shown = await client.card("tiny")
    assert (shown.card.name, shown.card.licence, shown.sharing.shared) == ("tiny", "CC0-1.0", True)
    assert (shown.sharing.name, shown.sharing.publisher, shown.sharing.signed_by) == ("tiny", "", "")
    assert await _public_card(public) == {
        "licence": "CC0-1.0",
        "description": shown.card.description,
        "trained_on": "unknown",
        "bad_at": "unknown",
    }
    card = shown.card.changed({"licence": "LicenseRef-other", "bad_at": "all\nof it", "trained_on": "noise"})
    kept = await client.keep_card(shown.sharing.digest[:8], card)
    assert kept == await client.card("tiny")
    assert (kept.card, kept.sharing.shared) == (card, False)
    assert "not in the table" in kept.sharing.reason
    assert "hearth models card tiny --set redistribution=allowed" in kept.sharing.hint
    seen = await _public_card(public)
    assert (seen["licence"], seen["bad_at"], seen["trained_on"]) == ("LicenseRef-other", "all of it", "noise")
    assert (await client.model("tiny")).licence == "LicenseRef-other"


async def test_who_signed_a_model_is_told(client: DaemonClient, node: HearthNode) -> None:
    """A stranger by the node id that the key has; the lineage tells it too."""
    library = node.administration.library
    model = library.find("tiny")
    card = Card(name="Tiny", licence="MIT", parents=(Parent(name="random numbers", relation="converted"),))
    trees = {blob.sha256: "c" * 64 for blob in model.manifest.blobs}
    public = crypto.ed25519_public(SEED)
    release = Release.make(model.manifest, trees, card, public, sign=lambda data: crypto.sign_plainly(SEED, data))
    library.cards.keep_release(release)
    shown = await client.card("tiny")
    assert (shown.card, shown.sharing.publisher) == (card, public.hex())
    assert "no member of this community" in shown.sharing.signed_by
    tree = await client.lineage("tiny")
    assert (tree.name, tree.digest, tree.here) == ("Tiny", model.digest, True)
    assert (tree.publisher, tree.signed_by) == (public.hex(), shown.sharing.signed_by)
    assert tree.parents is not None
    assert [(one.name, one.relation, one.here, one.parents) for one in tree.parents] == [
        ("random numbers", "converted", False, None)
    ]


async def test_who_is_not_here_has_no_card(client: DaemonClient) -> None:
    """The usual refusal."""
    for refused in (client.card("absent"), client.keep_card("absent", Card(name="n")), client.lineage("absent")):
        with pytest.raises(RequestRefusedError) as raised:
            await refused
        assert (raised.value.code, raised.value.status) == ("model_not_found", 404)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"format": "hearthmesh-card/1"}', b"{" * 10_000])
async def test_what_is_no_card_is_refused(owner: httpx.AsyncClient, body: bytes) -> None:
    """Whole or not at all."""
    reply = await owner.put("/api/models/tiny/card", content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_value")


async def test_a_card_may_be_written_in_any_form(owner: httpx.AsyncClient, client: DaemonClient) -> None:
    """Over HTTP it need not be canonical; it is kept so."""
    card = Card(name="Étoile", licence="MIT")
    reply = await owner.put("/api/models/tiny/card", content=json.dumps(card.to_fields(), ensure_ascii=False, indent=1))
    assert reply.status_code == 200
    assert (await client.card("tiny")).card == card
