"""The laboratory itself: what it promises of its networks is true, and nothing of it stays behind."""

import socket
import statistics
import subprocess
import sys
import threading
import time

import pytest

from tests.mesh_lab.net import HANDLES, PREFIX, TOOLS, Lab, Link, sweep
from tests.mesh_lab.wire import Settings, slow_link

pytestmark = [pytest.mark.lab, pytest.mark.program(*TOOLS)]

KILLED_LAB = """
import os, signal
from tests.mesh_lab.net import Lab
with Lab() as lab:
    print(lab.namespace("left-behind").name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_lab_left_is_swept_away() -> None:
    """The next lab removes the namespaces whose owner is gone, and no other."""
    with Lab() as lab:
        living = lab.namespace("living").name
        killed = subprocess.run([sys.executable, "-c", KILLED_LAB], capture_output=True, text=True, check=False)
        name = killed.stdout.strip()
        assert (HANDLES / name).exists()
        assert name in sweep()
        assert not (HANDLES / name).exists()
        assert (HANDLES / living).exists()
    assert not (HANDLES / living).exists()
    assert name.startswith(PREFIX)


def test_nothing_of_a_lab_is_outside_of_it() -> None:
    """The machine's own network has no interface more, whatever is built."""
    before = socket.if_nameindex()
    with Lab() as lab:
        machines = [lab.namespace(name) for name in "abc"]
        lab.link(machines[0], machines[1])
        lab.lan(*machines)
        assert socket.if_nameindex() == before


def test_a_cable_loses_what_it_is_told_to(lab: Lab) -> None:
    """30 % is 30 %, all is all, one way is one way, and a healed one loses nothing."""
    link = lab.link(lab.namespace("a"), lab.namespace("b"))
    assert arrived(link, 200) == (200, 200)
    link.two.drop(0.3)
    there, back = arrived(link, 1000)
    assert 600 < there < 800
    assert back == 1000
    link.heal()
    link.one.drop()
    assert arrived(link, 200) == (200, 0)
    link.heal()
    assert arrived(link, 200) == (200, 200)


def test_a_shaped_cable_carries_so_much(lab: Lab) -> None:
    """80 Mbit/s, give or take what the headers take."""
    link = lab.link(lab.namespace("a"), lab.namespace("b"))
    link.shape(80)
    assert 60 < megabits(link) < 85


def test_the_wire_takes_its_time(lab: Lab) -> None:
    """20 ms there and 20 ms back, and some jitter that changes no order."""
    one, two = lab.namespace("a"), lab.namespace("b")
    with slow_link(lab, one, two, Settings(delay_ms=20, jitter_ms=10)) as link:
        trips, order = echoes(link)
    assert 0.040 <= statistics.median(trips) < 0.120
    assert order == sorted(order)


def test_the_wire_changes_the_order(lab: Lab) -> None:
    """What is held back comes later than what was sent after it."""
    one, two = lab.namespace("a"), lab.namespace("b")
    with slow_link(lab, one, two, Settings(delay_ms=20, reorder=0.2)) as link:
        _, order = echoes(link)
    assert order != sorted(order)
    assert sorted(order) == [*range(len(order))]


def arrived(link: Link, count: int) -> tuple[int, int]:
    """Send so many datagrams each way; how many came."""
    return _one_way(link, count), _one_way(Link(link.two, link.one), count)


def _one_way(link: Link, count: int) -> int:
    with link.two.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind((link.two.address, 0))
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        ear.settimeout(0.3)
        with link.one.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            for _ in range(count):
                mouth.sendto(b"x", ear.getsockname())
        heard = 0
        while True:
            try:
                ear.recv(16)
            except TimeoutError:
                return heard
            heard += 1


def megabits(link: Link) -> float:
    """The rate of one connection from end to end."""
    size = 10_000_000
    with link.two.namespace.entered():
        server = socket.create_server((link.two.address, 0))
    with server, link.one.namespace.entered(), socket.create_connection(server.getsockname()) as sender:
        receiver, _ = server.accept()
        with receiver:
            sending = threading.Thread(target=sender.sendall, args=(bytes(size),))
            began = time.monotonic()
            sending.start()
            left = size
            while left:
                left -= len(receiver.recv(1 << 16))
            sending.join()
    return size * 8 / 1e6 / (time.monotonic() - began)


def echoes(link: Link, count: int = 100) -> tuple[list[float], list[int]]:
    """Send numbered datagrams to an echo, a millisecond apart: how long each took, and the order they came in."""
    with link.two.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind((link.two.address, 0))
        echo.settimeout(2.0)
        answering = threading.Thread(target=_answer, args=(echo, count))
        answering.start()
        with link.one.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(2.0)
            sent = {}
            for number in range(count):
                sent[number] = time.monotonic()
                asker.sendto(number.to_bytes(2), echo.getsockname())
                time.sleep(0.001)  # the pace
            order, trips = [], []
            for _ in range(count):
                number = int.from_bytes(asker.recv(2))
                order.append(number)
                trips.append(time.monotonic() - sent[number])
        answering.join()
    return trips, order


def _answer(echo: socket.socket, count: int) -> None:
    for _ in range(count):
        data, address = echo.recvfrom(16)
        echo.sendto(data, address)
