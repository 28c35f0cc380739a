"""The record of a running node, over its own socket."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from device.client import DaemonClient
from device.errors import RequestRefusedError
from mesh.core.membership import state_hash
from mesh.core.record_check import RecordCheck
from tests.sim.hearth import hearth_config, living


async def test_a_node_hands_out_what_anybody_can_check(tmp_path: Path) -> None:
    """Nothing while it belongs to no community; afterwards all of it, of the size that was said."""
    config = hearth_config(tmp_path)
    async with living(config):
        client = DaemonClient(config.socket_path)
        with pytest.raises(RequestRefusedError) as raised:
            async with client.record():
                pytest.fail("there is no record")
        assert raised.value.code == "no_community"
        await client.pair()
        community = (await client.status()).community
        check, size = RecordCheck(), 0
        async with client.record() as record:
            async for piece in record.pieces:
                check.receive(piece)
                size += len(piece)
            assert size == record.size
        found = check.finish()
        fixed = RecordCheck()
        async with client.record(fixed=True) as record:
            async for piece in record.pieces:
                fixed.receive(piece)
        only = fixed.finish()
    assert community is not None
    assert (only.checkpoint.origin, only.checkpoint.size) == (f"hearthmesh/{community.id}", 1)
    assert found.checkpoint.origin.startswith(f"hearthmesh/{community.id}/")
    assert state_hash(found.membership).hex() == community.state
    assert [member.node_id for member in found.membership.members.values()] == [community.members[0].node_id]


async def test_the_log_goes_on_with_what_comes(tmp_path: Path) -> None:
    """Each entry once, as soon as it is there."""
    configs = [hearth_config(tmp_path / name, name=name) for name in ("ember", "spark")]
    async with living(configs[0]), living(configs[1]):
        ember, spark = (DaemonClient(config.socket_path) for config in configs)
        offer = await ember.pair()
        command = [str(Path(sys.executable).with_name("hearth")), "--data", str(configs[0].data_dir)]
        following = await asyncio.create_subprocess_exec(
            *command, "log", "--follow", "--json", stdout=asyncio.subprocess.PIPE
        )
        assert following.stdout is not None
        try:
            first = json.loads(await following.stdout.readline())
            await spark.join(offer.words)
            second = json.loads(await following.stdout.readline())
        finally:
            following.terminate()
            await following.wait()
        status = await ember.status()
    assert (first["kind"], second["kind"], second["number"]) == ("genesis", "admit", 1)
    assert "let spark (" in second["says"]
    assert status.community is not None
    assert status.community.entries == 2
