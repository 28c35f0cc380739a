"""The tree is RFC 6962's: known roots, an independent implementation, and proofs that prove nothing else."""

from typing import Any

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core import merkle
from mesh.errors import ProofError

DATA = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [  # of the first 1 to 8 of DATA: the vectors that Certificate Transparency's implementations share
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(bytes([number])) for number in range(70)]


def oracle(data: list[bytes]) -> Any:  # noqa: ANN401  it ships no types
    """The same tree, by pymerkle."""
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for one in data:
        tree.append_entry(one)
    return tree


def test_known_roots() -> None:
    """Of no leaf, and of each number of them up to eight."""
    assert merkle.root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    leaves = [merkle.leaf_hash(data) for data in DATA]
    assert [merkle.root_of(leaves[:size]).hex() for size in range(1, 9)] == ROOTS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=40), st.data())
def test_the_oracle_agrees(data: list[bytes], draw: st.DataObject) -> None:
    """Roots and inclusion proofs are those of pymerkle, and our consistency proofs lead to its roots."""
    tree, leaves = oracle(data), [merkle.leaf_hash(one) for one in data]
    assert tree.get_root() == merkle.root_of(leaves)
    index = draw.draw(st.integers(0, len(data) - 1))
    assert set(tree.prove_inclusion(index + 1).path) == {leaves[index], *merkle.inclusion_proof(leaves, index)}
    old = draw.draw(st.integers(1, len(data)))
    merkle.verify_consistency(  # its own proofs have another form, its roots have not
        old, tree.get_root(old), size=len(data), root=tree.get_root(), proof=merkle.consistency_proof(leaves, old)
    )


def test_the_proofs_of_the_standard() -> None:
    """Those that RFC 6962, 2.1.3, gives for its tree of seven leaves, by the letters it uses."""
    leaves = LEAVES[:7]
    a, b, c, d, e, f, j = leaves
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)  # noqa: E741  the standard's letter
    assert merkle.inclusion_proof(leaves, 0) == [b, h, l]
    assert merkle.inclusion_proof(leaves, 3) == [c, g, l]
    assert merkle.inclusion_proof(leaves, 4) == [f, j, k]
    assert merkle.inclusion_proof(leaves, 6) == [i, k]
    assert merkle.consistency_proof(leaves, 3) == [c, d, g, l]
    assert merkle.consistency_proof(leaves, 4) == [l]
    assert merkle.consistency_proof(leaves, 6) == [i, j, k]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, len(LEAVES)), st.data())
def test_an_inclusion_proof_proves_one_place_only(size: int, draw: st.DataObject) -> None:
    """It holds for the leaf, place, size and root it was made for; a shorter, longer or altered one does not."""
    leaves = LEAVES[:size]
    index = draw.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(leaves, index), merkle.root_of(leaves)
    merkle.verify_inclusion(leaves[index], index, size=size, proof=proof, root=root)
    wrong = [
        (LEAVES[-1] if size < len(LEAVES) else bytes(32), index, size, proof, root),
        (leaves[index], index, size, proof, merkle.root_of(LEAVES[: size - 1])),
        (leaves[index], index, size, [*proof, bytes(32)], root),
        *((leaves[index], other, size, proof, root) for other in range(-1, size + 1) if other != index),
        *((leaves[index], index, size, [*proof[:at], bytes(32), *proof[at + 1 :]], root) for at in range(len(proof))),
        *((leaves[index], index, size, proof[:at], root) for at in range(len(proof))),
    ]
    for leaf, place, leaf_count, path, top in wrong:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf, place, size=leaf_count, proof=path, root=top)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, len(LEAVES)), st.data())
def test_a_consistency_proof_proves_one_beginning_only(size: int, draw: st.DataObject) -> None:
    """It holds for the two trees it was made for, and for no other roots, sizes or hashes."""
    old = draw.draw(st.integers(1, size))
    old_root, root = merkle.root_of(LEAVES[:old]), merkle.root_of(LEAVES[:size])
    proof = merkle.consistency_proof(LEAVES[:size], old)
    merkle.verify_consistency(old, old_root, size=size, root=root, proof=proof)
    wrong = [
        (old, bytes(32), size, root, proof),
        (old, old_root, size, bytes(32), proof),
        (old, old_root, size, root, [*proof, bytes(32)]),
        (0, old_root, size, root, proof),
        (old, old_root, old - 1, root, proof),
        *((old, old_root, size, root, [*proof[:at], bytes(32), *proof[at + 1 :]]) for at in range(len(proof))),
        *((old, old_root, size, root, proof[:at]) for at in range(len(proof))),
        *((other, old_root, size, root, proof) for other in range(1, size + 1) if other != old),
    ]
    for old_size, before, new_size, after, path in wrong:
        with pytest.raises(ProofError):
            merkle.verify_consistency(old_size, before, size=new_size, root=after, proof=path)


def test_no_proof_of_what_is_not_there() -> None:
    """Nobody is given a proof about a leaf or an older tree that never was."""
    for index in (-1, 3):
        with pytest.raises(ProofError):
            merkle.inclusion_proof(LEAVES[:3], index)
    for old in (0, 4):
        with pytest.raises(ProofError):
            merkle.consistency_proof(LEAVES[:3], old)
