"""Encoding, identities, signatures and seals give the committed bytes, and refuse what the files say."""

from pathlib import Path

import pytest

from mesh.core import codec, crypto
from mesh.core.statement import IdentityStatement
from mesh.errors import CryptoError, IdentityDamagedError, MalformedError
from mesh.identity import Identity, fingerprint
from tests.vectors.reading import Case, cases, data_of, invalid, item_of, title


@pytest.mark.parametrize("case", cases("codec"), ids=title)
def test_items_have_these_bytes(case: Case) -> None:
    """Encoded and decoded."""
    item = item_of(case["item"])
    assert codec.encode(item) == data_of(case)
    decoded = codec.decode(data_of(case), max_bytes=1000)
    assert (decoded, type(decoded)) == (item, type(item))


@pytest.mark.parametrize("case", invalid("codec"), ids=title)
def test_other_bytes_are_no_items(case: Case) -> None:
    """Whatever a general CBOR decoder makes of them."""
    with pytest.raises(MalformedError):
        codec.decode(data_of(case), max_bytes=1000)


@pytest.mark.parametrize("case", cases("identity"), ids=title)
def test_keys_ids_and_statements(case: Case, tmp_path: Path) -> None:
    """From two secrets comes everything else, and the file that keeps them."""
    seed, secret = bytes.fromhex(case["seed"]), bytes.fromhex(case["static_secret"])
    statement = IdentityStatement.make(seed, crypto.x25519_public(secret))
    assert statement.public.hex() == case["public"]
    assert statement.static.hex() == case["static"]
    assert statement.signature.hex() == case["statement"]
    assert statement.raw_id.hex() == case["raw_id"]
    assert (statement.node_id, crypto.parse_node_id(case["node_id"])) == (case["node_id"], statement.raw_id)
    assert fingerprint(statement.node_id) == case["fingerprint"]
    assert Identity(seed, secret, statement).to_bytes() == data_of(case)
    (tmp_path / "identity").write_bytes(data_of(case))
    assert Identity.open(tmp_path / "identity") == Identity(seed, secret, statement)


@pytest.mark.parametrize("case", invalid("identity"), ids=title)
def test_damaged_identities(case: Case, tmp_path: Path) -> None:
    """Are refused, and stay as they are."""
    (tmp_path / "identity").write_bytes(data_of(case))
    with pytest.raises(IdentityDamagedError):
        Identity.open(tmp_path / "identity")
    assert (tmp_path / "identity").read_bytes() == data_of(case)


def signed(case: Case) -> tuple[bytes, bytes, str, bytes, bytes]:
    """Return what `verify` is given."""
    public, community, data = (bytes.fromhex(case[key]) for key in ("public", "community", "data"))
    return public, data_of(case), case["kind"], community, data


@pytest.mark.parametrize("case", cases("signatures"), ids=title)
def test_signatures(case: Case) -> None:
    """Made and checked."""
    public, signature, kind, community, data = signed(case)
    assert crypto.sign(bytes.fromhex(case["seed"]), kind, community, data) == signature
    crypto.verify(public, signature, kind, community, data)


@pytest.mark.parametrize("case", invalid("signatures"), ids=title)
def test_signatures_for_something_else(case: Case) -> None:
    """Do not hold."""
    with pytest.raises(CryptoError):
        crypto.verify(*signed(case))


def sealing(case: Case) -> tuple[bytes, int, bytes]:
    """Return key, counter and associated data."""
    counter = item_of(case["counter"])
    assert isinstance(counter, int)
    return bytes.fromhex(case["key"]), counter, bytes.fromhex(case["associated"])


@pytest.mark.parametrize("case", cases("seals"), ids=title)
def test_seals(case: Case) -> None:
    """Made and opened."""
    plaintext = bytes.fromhex(case["plaintext"])
    assert crypto.seal(*sealing(case), plaintext) == data_of(case)
    assert crypto.unseal(*sealing(case), data_of(case)) == plaintext


@pytest.mark.parametrize("case", invalid("seals"), ids=title)
def test_broken_seals(case: Case) -> None:
    """Do not open."""
    with pytest.raises(CryptoError):
        crypto.unseal(*sealing(case), data_of(case))
