"""A card that was copied or moved: the node says so, signs nothing, and is cured."""

import shutil
from pathlib import Path

import pytest

from mesh.errors import BoardChangedError
from mesh.identity import Identity
from tests.mesh.nodes import Running, paired, running


def board(root: Path, serial: str) -> Path:
    """Record the tree of a board."""
    (root / "proc" / "device-tree").mkdir(parents=True)
    (root / "proc" / "device-tree" / "serial-number").write_text(f"{serial}\0")
    return root


def changed(one: Running) -> tuple[str, ...]:
    """What is another one, as the node has it now."""
    return one.node.board_changed


async def test_on_another_board_nothing_is_signed(tmp_path: Path) -> None:
    """Links and all else work; who is let in or thrown out is not decided, until the owner says that it has moved."""
    first, second = board(tmp_path / "first", "1001"), board(tmp_path / "second", "1002")
    async with running(tmp_path, "Ben") as ben:
        async with running(tmp_path, "Anna", hardware=first) as anna:
            await paired(anna, ben)
            assert changed(anna) == ()
        async with running(tmp_path, "Anna", hardware=second) as anna:
            await anna.linked_to(ben)
            assert changed(anna) == ("board",)
            assert (await anna.node.diagnose()).board_changed == ("board",)
            with pytest.raises(BoardChangedError):
                await anna.node.open_offer()
            with pytest.raises(BoardChangedError):
                anna.node.belonging.forget(ben.node.node_id)
            anna.node.accept_board()
            assert changed(anna) == ()
            anna.node.belonging.forget(ben.node.node_id)
        async with running(tmp_path, "Anna", hardware=second) as anna:
            assert changed(anna) == ()
        async with running(tmp_path, "Anna", hardware=first) as anna:
            assert changed(anna) == ("board",)
            await anna.node.belonging.leave()
            assert anna.node.community() is None
            with pytest.raises(BoardChangedError):
                await anna.node.open_offer()


async def test_both_boards_learn_that_they_are_two(tmp_path: Path) -> None:
    """The second one sees the first one's record, and shows at its door whose key it holds."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        shutil.copytree(tmp_path / "Ben", tmp_path / "copy" / "Ben", ignore=shutil.ignore_patterns("broker"))
        async with running(tmp_path / "copy", "Ben") as copy:
            await copy.until(lambda: copy.node.duplicate)
            await ben.until(lambda: ben.node.duplicate)
        assert not anna.node.duplicate


async def test_a_new_identity_joins_again(tmp_path: Path) -> None:
    """The next start is another node's, which belongs nowhere; the old one is kept, and a member still."""
    async with running(tmp_path, "Anna") as anna:
        async with running(tmp_path, "Ben") as ben:
            await paired(anna, ben)
            old = ben.node.node_id
            kept = ben.node.replace_identity()
            assert ben.node.node_id == old
        async with running(tmp_path, "Ben") as ben:
            assert ben.node.node_id != old
            assert ben.node.community() is None
            assert changed(ben) == ()
            await paired(anna, ben)
        view = anna.node.community()
        assert view is not None
        assert [one.name for one in view.members] == ["Anna", "Ben", "Ben"]
    assert Identity.open(kept / "identity").node_id == old
