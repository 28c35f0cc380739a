"""Turns at the engine: fair in tokens, the owner first, nobody starved, everything bounded."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.admission import DEFAULT_BOUNDS, MAX_REMEMBERED, Admission, Bounds, Client, Standing, Ticket
from device.errors import BusyError
from tests.sim.crowd import Asker, jain, live

OWNER = Client("owner", Standing.OWNER)
HOUR_S = 3600.0


def guest(name: str) -> Client:
    """A phone."""
    return Client(name, Standing.GUEST)


def neighbour(name: str) -> Client:
    """Another node."""
    return Client(name, Standing.NEIGHBOUR)


def program(name: str) -> Client:
    """A program of the owner's."""
    return Client(name, Standing.OWN)


def served(admission: Admission, *, tokens: float = 10, now: float = 0.0) -> list[Client]:
    """Answer all that waits, one after the other; whose turn it was."""
    order: list[Client] = []
    while begun := admission.start(now=now):
        order += [ticket.client for ticket in begun]
        for ticket in begun:
            admission.end(ticket, tokens=tokens, now=now)
    return order


def test_equal_clients_take_turns() -> None:
    """One that asks three things at once does not come before one that asks after it."""
    admission = Admission()
    for client in (guest("a"), guest("a"), guest("a"), guest("b"), guest("c")):
        admission.enter(client, 10)
    assert [client.id for client in served(admission)] == ["a", "b", "c", "a", "a"]


def test_the_owner_comes_first() -> None:
    """Whatever waits already, and however much the owner has had."""
    admission = Admission()
    for client in (guest("a"), neighbour("n"), program("p"), OWNER, OWNER):
        admission.enter(client, 10)
    assert served(admission)[:2] == [OWNER, OWNER]


def test_long_answers_count_for_more() -> None:
    """Shares are of tokens: while one has a long answer, the other has several short ones."""
    admission = Admission()
    for _ in range(4):
        admission.enter(guest("long"), 100)
        admission.enter(guest("short"), 20)
    order = []
    while begun := admission.start(now=0):
        order.append(begun[0].client.id)
        admission.end(begun[0], tokens=100 if begun[0].client.id == "long" else 20, now=0)
    assert order[:6] == ["long", "short", "short", "short", "short", "long"]


def test_what_it_really_took_counts() -> None:
    """A question that was guessed to be short and was long is made up for."""
    admission = Admission()
    for _ in range(3):
        admission.enter(guest("liar"), 1)
        admission.enter(guest("honest"), 10)
    order = []
    while begun := admission.start(now=0):
        order.append(begun[0].client.id)
        admission.end(begun[0], tokens=500 if begun[0].client.id == "liar" else 10, now=0)
    assert order == ["liar", "honest", "honest", "honest", "liar", "liar"]


def test_many_neighbours_do_not_outweigh_one_guest() -> None:
    """Neighbours share among themselves what a guest would have of its own."""
    admission = Admission()
    for number in range(6):
        admission.enter(neighbour(f"n{number}"), 10)
    for _ in range(3):
        admission.enter(guest("a"), 10)
    assert [client.standing.value for client in served(admission)[:6]] == ["guest", "neighbour"] * 3


def test_who_was_away_has_saved_nothing_up() -> None:
    """Coming back after an hour gives the next turn, not an hour's worth of turns."""
    admission = Admission()
    for _ in range(50):
        admission.enter(guest("busy"), 10)
        served(admission)
    for client in (guest("busy"), guest("busy"), guest("back"), guest("back")):
        admission.enter(client, 10)
    assert sorted(client.id for client in served(admission)[:2]) == ["back", "busy"]


def test_places_are_the_order_of_service() -> None:
    """What is shown to those who wait is what happens if nobody else comes."""
    admission = Admission()
    clients = (guest("a"), guest("a"), neighbour("n"), guest("b"), OWNER, program("p"))
    running = admission.enter(guest("z"), 10)
    assert admission.start(now=0) == (running,)
    for client in clients:
        admission.enter(client, 10)
    shown = [ticket.client for ticket in admission.order()]
    admission.end(running, tokens=10, now=1)
    assert shown == served(admission)
    assert shown[0] == OWNER


def test_the_size_of_the_queue_sets_every_bound() -> None:
    """One client has half of it; the owner as much, but never fewer than 16."""
    assert Bounds.of_queue(32) == DEFAULT_BOUNDS
    assert Bounds.of_queue(400) == Bounds(owner=200, shared=400, single=200)
    assert Bounds.of_queue(2) == Bounds(owner=16, shared=2, single=1)
    assert Bounds.of_queue(32).doubled() == Bounds(owner=32, shared=64, single=32)


def test_a_greedy_client_leaves_places_for_others() -> None:
    """It may hold no more places than are free; so there is one for whoever comes next."""
    admission = Admission(bounds=Bounds(shared=8, single=8))
    for _ in range(4):
        admission.enter(neighbour("greedy"), 10)
    with pytest.raises(BusyError, match="4 questions are waiting here, 4 of them yours"):
        admission.enter(neighbour("greedy"), 10)
    admission.enter(neighbour("modest"), 10)
    admission.enter(OWNER, 10)
    assert admission.waiting == {Standing.NEIGHBOUR: 5, Standing.OWNER: 1}


def test_many_guests_leave_places_for_others() -> None:
    """However many come at once, the half of what others share is not theirs; and a newcomer finds one in theirs."""
    admission = Admission(bounds=Bounds(shared=16, single=16))
    for name in ("greedy", "greedier", "greediest"):
        for _ in range(16):
            with contextlib.suppress(BusyError):
                admission.enter(guest(name), 10)
    admission.enter(guest("modest"), 10)
    with pytest.raises(BusyError):
        admission.enter(guest("late"), 10)
    assert admission.waiting == {Standing.GUEST: 8}
    for _ in range(3):
        admission.enter(program("p"), 10)
        admission.enter(neighbour("n"), 10)


def test_the_owners_places_are_the_owners() -> None:
    """Others cannot take them, and they too are bounded."""
    admission = Admission(bounds=Bounds(owner=2, shared=1))
    admission.enter(neighbour("a"), 10)
    with pytest.raises(BusyError):
        admission.enter(neighbour("b"), 10)
    for _ in range(2):
        admission.enter(OWNER, 10)
    with pytest.raises(BusyError) as raised:
        admission.enter(OWNER, 10)
    assert raised.value.retry_after_s == 5


def test_when_to_ask_again_is_measured() -> None:
    """It follows how long answers take here, within bounds."""
    admission = Admission()
    for began, ended in ((0, 100), (100, 200), (200, 300), (300, 2 * HOUR_S)):
        admission.enter(guest("a"), 10)
        (ticket,) = admission.start(now=began)
        admission.end(ticket, tokens=10, now=ended)
        if ended == 300:
            assert 40 <= admission.retry_after_s <= 60
    assert admission.retry_after_s == 300


def test_who_gives_up_leaves_no_trace() -> None:
    """Its place is free at once; ending twice changes nothing."""
    admission = Admission()
    first, second = admission.enter(guest("a"), 10), admission.enter(guest("b"), 10)
    admission.end(first, now=0)
    admission.end(first, now=0)
    assert admission.start(now=0) == (second,)
    assert admission.start(now=0) == ()


def test_others_step_aside_for_the_owner() -> None:
    """Whoever began last, one for each question of the owner's; they go on before what else they ask."""
    admission = Admission(slots=2)
    first, second = admission.enter(guest("a"), 50), admission.enter(neighbour("n"), 50)
    admission.start(now=0)
    later = admission.enter(guest("a"), 10)
    assert admission.to_interrupt() == ()
    second.started_at = 1.0
    owners = admission.enter(OWNER, 10)
    assert admission.to_interrupt() == (second,)
    admission.pause(second, tokens=20)
    assert admission.order() == (owners, later)
    admission.resume(second)
    assert second.cost == 30
    assert admission.start(now=2) == (owners,)
    assert admission.to_interrupt() == ()
    admission.end(owners, tokens=10, now=3)
    admission.end(first, tokens=50, now=3)
    assert admission.start(now=3) == (second, later)


def test_the_owners_own_answer_is_let_end() -> None:
    """The owner's second question waits for the first."""
    admission = Admission()
    running, waiting = admission.enter(OWNER, 10), admission.enter(OWNER, 10)
    assert admission.start(now=0) == (running,)
    assert admission.to_interrupt() == ()
    admission.end(running, tokens=10, now=1)
    assert admission.start(now=1) == (waiting,)


def test_a_node_that_gets_hot_rests_between_others_questions() -> None:
    """At half of what it can, it rests as long as it worked; the owner does not wait for that."""
    admission = Admission()
    assert admission.offer(0.5) == ()
    admission.enter(guest("a"), 10)
    (ticket,) = admission.start(now=0)
    admission.end(ticket, tokens=10, now=8)
    assert admission.wake_at(now=8) is None
    waiting = admission.enter(neighbour("n"), 10)
    assert admission.start(now=8) == ()
    assert admission.wake_at(now=8) == 16
    owners = admission.enter(OWNER, 10)
    assert admission.start(now=9) == (owners,)
    admission.end(owners, tokens=10, now=10)
    assert admission.start(now=16) == (waiting,)
    admission.end(waiting, tokens=10, now=20)
    admission.enter(guest("a"), 10)
    assert admission.start(now=20) == ()
    admission.offer(1.0)
    assert len(admission.start(now=20)) == 1


def test_a_node_that_is_too_hot_serves_its_owner_alone() -> None:
    """Others are refused, those who wait too; the owner and the owner's programs go on."""
    admission = Admission()
    waiting = [admission.enter(client, 10) for client in (guest("a"), neighbour("n"), program("p"), OWNER)]
    assert admission.offer(0.0) == tuple(waiting[:2])
    for ticket in waiting[:2]:
        admission.end(ticket, now=0)
    for client in (guest("a"), neighbour("n")):
        with pytest.raises(BusyError, match="spares itself") as raised:
            admission.enter(client, 10)
        assert raised.value.retry_after_s == 300
    assert served(admission) == [OWNER, program("p")]


def test_what_is_remembered_is_bounded() -> None:
    """However many come once and never again; who is forgotten is a newcomer."""
    admission = Admission()
    for number in range(2 * MAX_REMEMBERED):
        admission.enter(guest(str(number)), 10)
        served(admission)
    assert len(admission._shares._clients[Standing.GUEST]._had) <= MAX_REMEMBERED


CLIENTS = st.sampled_from([OWNER, program("p"), guest("a"), guest("b"), neighbour("n"), neighbour("m")])


@given(st.lists(st.tuples(CLIENTS, st.integers(1, 50)), max_size=30), st.integers(0, 12))
def test_places_are_the_order_of_service_whoever_has_had_what(asked: list[tuple[Client, int]], before: int) -> None:
    """The forecast in heaps is what choosing one by one gives, whatever was served earlier."""
    admission = Admission(bounds=Bounds(owner=30, shared=120, single=30))
    for client, cost in asked[:before]:
        admission.enter(client, cost)
    served(admission)
    for client, cost in asked[before:]:
        admission.enter(client, cost)
    shown = admission.order()
    for ticket in shown:
        assert admission.start(now=0) == (ticket,)
        admission.end(ticket, tokens=ticket.cost, now=0)
    assert not admission.waiting


@given(st.lists(st.one_of(CLIENTS, st.none(), st.floats(0, 1)), max_size=60))
def test_whatever_happens_everyone_is_served_once(steps: list[Client | float | None]) -> None:
    """A client enters, None ends what runs, a number is the share on offer: nobody is lost or served twice."""
    admission, now = Admission(slots=2, bounds=Bounds(owner=3, shared=6)), 0.0
    taken: list[Ticket] = []
    begun: list[Ticket] = []
    for step in steps:
        now += 1
        match step:
            case Client():
                try:
                    taken.append(admission.enter(step, 10))
                except BusyError as error:
                    assert error.retry_after_s >= 1  # noqa: PT017  a refusal is one of the two outcomes
            case None:
                for ticket in begun:
                    admission.end(ticket, tokens=15, now=now)
            case _:
                for ticket in admission.offer(step):
                    admission.end(ticket, now=now)
                    taken.remove(ticket)
        assert set(admission.order()) == set(taken) - set(begun)
        begun += admission.start(now=now)
        assert admission.waiting.total() <= 9
    admission.offer(1.0)
    for _ in taken:
        for ticket in begun:
            admission.end(ticket, tokens=15, now=now)
        begun += admission.start(now=now)
    assert len(begun) == len(taken)
    assert set(begun) == set(taken)


def test_thousands_of_questions_are_shared_fairly() -> None:
    """Eight phones that ask very different amounts have the same tokens, to within a few answers."""
    askers = [Asker(client=guest(str(n)), at_once=1 + n % 4, tokens=30 * (1 + n)) for n in range(8)]
    crowd = live(askers, for_s=15 * HOUR_S)
    assert crowd.answers.total() > 5000
    assert jain(crowd.served[asker.client] for asker in askers) > 0.99


def test_nobody_starves_beside_the_greedy() -> None:
    """One that asks now and then waits for the answers of a round, not for all that the greedy have asked."""
    greedy = [Asker(client=guest(f"g{n}"), at_once=16, tokens=200) for n in range(4)]
    modest = Asker(client=guest("modest"), tokens=50, pause_s=60)
    crowd = live([*greedy, modest], for_s=10 * HOUR_S)
    assert crowd.answers[modest.client] > 300
    assert max(crowd.waits[modest.client]) < (len(greedy) + 1) * 200 * 1.8 / 20
    assert crowd.most_waiting <= DEFAULT_BOUNDS.shared


def test_the_owner_waits_for_one_answer_at_most() -> None:
    """Even at a full queue: what runs is let end, then it is the owner's turn."""
    crowd = live(
        [
            *(Asker(client=neighbour(f"n{n}"), at_once=8, tokens=200) for n in range(8)),
            Asker(client=OWNER, tokens=20, pause_s=30),
        ],
        for_s=5 * HOUR_S,
    )
    assert crowd.refused.total() > 0
    assert crowd.refused[OWNER] == 0
    assert max(crowd.waits[OWNER]) <= 200 * 1.8 / 20
