"""Requests under way: each answer goes to whoever asked that neighbour, once."""

import asyncio

import pytest

from device.core.sharing_messages import GiveChunk, Given, Refused, WantChunks, WantHolding
from device.sharing import requests
from device.sharing.requests import Requests
from tests.sim.mesh_net import SimulatedNet

WANT = WantHolding("0f" * 32)


async def test_an_answer_counts_once_and_only_from_whoever_was_asked() -> None:
    """Others may guess an id; a second answer is none."""
    net = SimulatedNet()
    here, there = net.node("here"), net.node("there")
    net.link(here, there)
    asked, got = Requests(here), list[Given]()
    message_id = asked.send(there.node_id, WANT, got.append)
    asked.arrived("else", message_id, Refused("busy"))
    asked.arrived(there.node_id, None, Refused("busy"))
    asked.arrived(there.node_id, bytes(16), Refused("busy"))
    assert got == []
    asked.arrived(there.node_id, message_id, Refused("not_here"))
    asked.arrived(there.node_id, message_id, Refused("busy"))
    assert got == [Refused("not_here")]
    forgotten = asked.send(there.node_id, WANT, got.append)
    asked.forget(forgotten)
    asked.arrived(there.node_id, forgotten, Refused("busy"))
    assert len(got) == 1


async def test_each_of_several_chunks_has_its_answer() -> None:
    """The request is open until the last has come; one refusal of them all ends it."""
    net = SimulatedNet()
    here, there = net.node("here"), net.node("there")
    net.link(here, there)
    asked, got = Requests(here), list[Given]()
    want = WantChunks("0f" * 32, "f0" * 32, (4, 5, 6))
    answers: list[Given] = [GiveChunk(6, b"6"), Refused("busy", 4), GiveChunk(5, b"5"), GiveChunk(4, b"4")]
    message_id = asked.send(there.node_id, want, got.append)
    for answer in answers:
        asked.arrived(there.node_id, message_id, answer)
    assert got == answers[:3]
    message_id = asked.send(there.node_id, want, got.append)
    asked.arrived(there.node_id, message_id, Refused("busy"))
    asked.arrived(there.node_id, message_id, GiveChunk(6, b"6"))
    assert got[3:] == [Refused("busy")]


async def test_who_waits_gets_the_answer_or_none() -> None:
    """In time, or not at all."""
    net = SimulatedNet()
    here, there = net.node("here"), net.node("there")
    asked = Requests(here)
    assert await asked.ask(there.node_id, WANT, within_s=1) is None
    net.link(here, there)
    assert await asked.ask(there.node_id, WANT, within_s=0.01) is None
    waiting = asyncio.create_task(asked.ask(there.node_id, WANT, within_s=10))
    await asyncio.sleep(0)
    [message_id] = asked._open
    asked.arrived(there.node_id, message_id, Refused("not_here"))
    assert await waiting == Refused("not_here")


async def test_what_never_comes_is_forgotten_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first."""
    monkeypatch.setattr(requests, "MAX_OPEN", 3)
    net = SimulatedNet()
    here, there = net.node("here"), net.node("there")
    net.link(here, there)
    asked, got = Requests(here), list[Given]()
    sent = [asked.send(there.node_id, WANT, got.append) for _ in range(5)]
    for message_id in sent:
        asked.arrived(there.node_id, message_id, Refused("busy"))
    assert len(got) == 3
