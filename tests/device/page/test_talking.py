"""A guest's conversation in a real browser: asked, streamed, stopped, broken off, refused, kept or not."""

import asyncio
import json
import os
import re
import signal
from dataclasses import dataclass

import httpx
import pytest
from playwright.async_api import BrowserContext, Page, Route, expect
from starlette.responses import JSONResponse, Response

from device.node import HearthNode
from tests.device.page.scripted import ScriptedHearth
from tests.device.workers import kill_in_mid_answer
from tests.models.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.program("chromium"), pytest.mark.asyncio(loop_scope="module")]


async def ask(page: Page, text: str) -> None:
    """Type a question and send it."""
    await page.fill("#question", text)
    await page.click("#ask")


async def test_an_answer_streams_and_says_who_gave_it(page: Page, scripted: ScriptedHearth) -> None:
    """Words are on the screen while more are to come; the end names the box and its model."""
    await page.goto(scripted.url)
    await ask(page, "What is bread made of?")
    scripted.says("Flour", ", water")
    await expect(page.locator(".answer")).to_contain_text("Flour, water")
    await expect(page.locator("#status")).to_have_text("workshop is answering…")
    scripted.says(" and salt.")
    scripted.ends()
    await expect(page.locator(".answer")).to_contain_text("Flour, water and salt.")
    await expect(page.locator(".by")).to_contain_text("Answered by workshop with smollm2-135m")
    await expect(page.locator(".asked")).to_have_text("You asked: What is bread made of?")
    assert scripted.asked[0]["messages"] == [{"role": "user", "content": "What is bread made of?"}]
    assert scripted.headers[0]["x-hearthmesh"] == "page"


async def test_a_conversation_goes_along(page: Page, scripted: ScriptedHearth) -> None:
    """The second question is asked with the first and its answer."""
    await page.goto(scripted.url)
    for question, reply in (("One?", "Two."), ("Three?", "Four.")):
        await ask(page, question)
        scripted.says(reply)
        scripted.ends()
        await expect(page.locator(".by").last).to_be_visible()
        await expect(page.locator("#ask")).to_be_visible()
    assert [message["content"] for message in scripted.asked[1]["messages"]] == ["One?", "Two.", "Three?"]


async def test_the_place_in_the_queue_is_said(page: Page, scripted: ScriptedHearth) -> None:
    """Who waits sees how many are before, and that it moves."""
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    for place in (3, 1):
        scripted.queue(place)
        await expect(page.locator("#status")).to_have_text(f"You are number {place} in the queue.")
    scripted.ends()
    await expect(page.locator(".by")).to_be_visible()


async def test_a_model_that_is_being_loaded_is_said(page: Page, scripted: ScriptedHearth) -> None:
    """And how far it is, where it is converted first."""
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    scripted.loads(40)
    await expect(page.locator("#status")).to_have_text("The model is being made ready: 40 %.")
    scripted.loads()
    await expect(page.locator("#status")).to_have_text("The model is being loaded.")
    scripted.says("Here.")
    await expect(page.locator("#status")).to_have_text("workshop is answering…")
    scripted.ends()
    await expect(page.locator(".by")).to_be_visible()


async def test_stop_ends_the_answer_and_keeps_what_came(page: Page, scripted: ScriptedHearth) -> None:
    """The box hears of it at once; the next question takes the part along."""
    await page.goto(scripted.url)
    await ask(page, "Tell me a story")
    scripted.says("Once upon a time")
    await expect(page.locator(".answer")).to_contain_text("Once upon")
    await page.click("#stop")
    await expect(page.locator(".by")).to_contain_text("you stopped it")
    await until(scripted.left.is_set)
    await ask(page, "Go on")
    scripted.ends()
    await expect(page.locator(".by").last).to_be_visible()
    assert scripted.asked[1]["messages"][1] == {"role": "assistant", "content": "Once upon a time"}


@pytest.mark.parametrize("how", ["error", "connection"])
async def test_a_box_that_dies_in_mid_answer(page: Page, scripted: ScriptedHearth, how: str) -> None:
    """What came stays on the page, the trouble is said, and one tap asks again."""
    await page.goto(scripted.url)
    await ask(page, "Who are you?")
    scripted.says("I am a")
    await expect(page.locator(".answer")).to_contain_text("I am a")
    if how == "error":
        scripted.fails("answer_lost")
    else:
        scripted.breaks()
    await expect(page.locator(".trouble")).to_contain_text("stays here")
    await expect(page.locator(".answer")).to_contain_text("I am a")
    await page.get_by_role("button", name="Ask again").click()
    scripted.says("A small model.")
    scripted.ends()
    await expect(page.locator(".answer").last).to_contain_text("A small model.")
    assert scripted.asked[0] == scripted.asked[1]


async def test_stopped_in_the_queue_is_said(page: Page, scripted: ScriptedHearth) -> None:
    """There is no answer then, and nobody who gave it."""
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    scripted.queue(5)
    await expect(page.locator("#status")).to_have_text("You are number 5 in the queue.")
    await page.click("#stop")
    await expect(page.locator(".by")).to_have_text("Stopped before an answer began.")
    await until(scripted.left.is_set)


async def test_an_old_question_is_asked_again_in_its_place(page: Page, scripted: ScriptedHearth) -> None:
    """Not while another is being answered; the new answer stands below the one that failed."""
    await page.goto(scripted.url)
    scripted.refuse(503, "busy")
    await ask(page, "One?")
    again = page.get_by_role("button", name="Ask again")
    await expect(again).to_be_visible()
    await ask(page, "Two?")
    scripted.says("Second")
    await expect(page.locator(".answer").last).to_contain_text("Second")
    await again.click()
    assert len(scripted.asked) == 2
    scripted.ends()
    await expect(page.locator("#ask")).to_be_visible()
    await again.click()
    scripted.says("First")
    scripted.ends()
    await expect(page.locator(".by")).to_have_count(2)
    texts = [one.partition(" ")[0].partition("\n")[0] for one in await page.locator("main > .answer").all_inner_texts()]
    assert texts == ["The", "First", "Second"]  # "The box is busy…"
    assert [one["content"] for one in scripted.asked[-1]["messages"]] == ["One?"]


async def test_who_gave_which_part_is_said(page: Page, scripted: ScriptedHearth) -> None:
    """An answer that another box went on with names both."""
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    scripted.says("Hi")
    parts = [{"node_name": "workshop", "tokens": 3}, {"node_name": "attic", "tokens": 5}]
    scripted.ends(parts=parts)
    await expect(page.locator(".by")).to_contain_text("workshop, then attic with smollm2-135m")


@dataclass(frozen=True)
class Refusal:
    """An error of the API, and some of the words that the page has for it."""

    status: int
    code: str
    says: str
    retry_after: str = ""


REFUSALS = [
    Refusal(401, "wrong_key", "Scan the QR code again"),
    Refusal(403, "forbidden", "scanning the QR code again"),
    Refusal(429, "budget_used_up", "It renews in 2 hours.", "5400"),
    Refusal(503, "busy", "too many people are asking. Ask again in 7 seconds.", "7"),
    Refusal(503, "stopping", "switched off or restarted. Ask again later."),
    Refusal(404, "model_not_found", "Ask the owner of this box to put a model on it."),
    Refusal(400, "context_length_exceeded", "Start a new conversation"),
    Refusal(500, "unheard_of", "The fire is out. You can ask again."),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[one.code for one in REFUSALS])
async def test_a_refusal_is_said_in_plain_words(page: Page, scripted: ScriptedHearth, refusal: Refusal) -> None:
    """What happened and what to do; then the same question may be asked again."""
    await page.goto(scripted.url)
    headers = {"Retry_After": refusal.retry_after} if refusal.retry_after else {}
    scripted.refuse(refusal.status, refusal.code, "the fire is out", **headers)
    await ask(page, "Hello?")
    await expect(page.locator(".trouble")).to_contain_text(refusal.says)
    await page.get_by_role("button", name="Ask again").click()
    scripted.says("Here I am.")
    scripted.ends()
    await expect(page.locator(".answer").last).to_contain_text("Here I am.")


async def test_a_conversation_too_long_goes_on_in_a_new_one(page: Page, scripted: ScriptedHearth) -> None:
    """One tap asks the same question without what was before."""
    await page.goto(scripted.url)
    await ask(page, "One?")
    scripted.ends()
    await expect(page.locator(".by")).to_be_visible()
    scripted.refuse(400, "context_length_exceeded")
    await ask(page, "Two?")
    await page.get_by_role("button", name="Ask in a new conversation").click()
    scripted.ends()
    await expect(page.locator(".by")).to_have_count(1)
    assert [message["content"] for message in scripted.asked[-1]["messages"]] == ["Two?"]


async def test_no_way_to_the_box(page: Page, scripted: ScriptedHearth, visitor: BrowserContext) -> None:
    """A phone that lost the Wi-Fi says so, and asks when it is back."""
    await page.goto(scripted.url)
    await expect(page.locator("#models .card")).to_have_count(1)
    await visitor.set_offline(True)
    await ask(page, "Hello?")
    await expect(page.locator(".trouble")).to_contain_text("Is this phone still on its Wi-Fi?")
    await visitor.set_offline(False)
    await page.get_by_role("button", name="Ask again").click()
    scripted.ends()
    await expect(page.locator(".by")).to_be_visible()


async def test_an_answer_without_end_is_cut(page: Page, scripted: ScriptedHearth) -> None:
    """A box that never stops does not fill the phone."""
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    scripted.says(*["word " * 2000] * 21)
    await expect(page.locator(".trouble")).to_contain_text("too long for this page")
    await until(scripted.left.is_set)
    assert len(await page.locator(".answer").inner_text()) <= 201_000


async def test_a_key_leaves_the_address_and_is_exchanged(page: Page, scripted: ScriptedHearth) -> None:
    """It comes behind #, which no server sees; afterwards neither the address bar nor the page has it."""
    await page.goto(f"{scripted.url}/#k=hk_abc234")
    await expect(page.locator("#models .card")).to_have_count(1)
    assert scripted.exchanged == ["hk_abc234"]
    assert page.url == f"{scripted.url}/"
    assert "hk_abc234" not in await page.content()
    assert await page.evaluate("history.length") <= 2


async def test_a_wrong_key_is_said(page: Page, scripted: ScriptedHearth) -> None:
    """With what to do."""
    scripted.session = scripted_refusal()
    await page.goto(f"{scripted.url}/#k=hk_old")
    await expect(page.locator(".notice")).to_contain_text("was taken back. Scan the QR code again")


def scripted_refusal() -> Response:
    """A 401 as the API writes it."""
    return JSONResponse({"error": {"message": "no such key", "code": "wrong_key", "hint": ""}}, 401)


async def test_nothing_is_kept_unless_asked(page: Page, scripted: ScriptedHearth, visitor: BrowserContext) -> None:
    """After a conversation the phone holds no storage, no cookie of ours, no cache; reloaded, it is gone."""
    await page.goto(scripted.url)
    await ask(page, "A secret?")
    scripted.says("A secret.")
    scripted.ends()
    await expect(page.locator(".by")).to_be_visible()
    kept = "[localStorage.length, sessionStorage.length, document.cookie]"
    assert await page.evaluate(kept) == [0, 0, ""]
    assert await visitor.cookies() == []
    await page.reload()
    await expect(page.locator("#welcome")).to_be_visible()
    assert await page.locator(".answer").count() == 0


async def test_a_conversation_is_kept_while_the_switch_is_on(page: Page, scripted: ScriptedHearth) -> None:
    """It is there after a reload; switched off, everything is gone from the phone."""
    await page.goto(scripted.url)
    await page.click("#open-about")
    await page.check("#keep")
    await ask(page, "Keep this?")
    scripted.says("**Kept.**")
    scripted.ends()
    await expect(page.locator(".by")).to_be_visible()
    await page.reload()
    await expect(page.locator(".answer strong")).to_have_text("Kept.")
    await expect(page.locator(".asked")).to_contain_text("Keep this?")
    await page.click("#open-about")
    await page.uncheck("#keep")
    assert await page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("kept", ["", "{", "5", "null", '[null, 5, {"question": {}}]'])
async def test_what_was_kept_may_be_spoilt(page: Page, scripted: ScriptedHearth, kept: str) -> None:
    """The page begins all the same, and asks."""
    await page.add_init_script(f"localStorage.setItem('hearth.conversation', {json.dumps(kept)})")
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    scripted.ends()
    await expect(page.locator(".by").last).to_contain_text("workshop")


async def test_a_browser_that_keeps_nothing_says_so(page: Page, scripted: ScriptedHearth) -> None:
    """A private window, or a full phone: the switch goes back, and the conversation goes on."""
    await page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    await page.goto(scripted.url)
    await page.click("#open-about")
    await page.locator("#keep").click()
    await expect(page.locator("#status")).to_have_text("This browser keeps nothing.")
    assert not await page.is_checked("#keep")


async def test_an_old_phone_gets_the_answer_at_once(page: Page, scripted: ScriptedHearth) -> None:
    """Without streams and without a way to stop, the answer is there when it is whole."""
    await page.add_init_script("delete Response.prototype.body; delete window.AbortController")
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    scripted.says("All ", "at once.")
    scripted.ends()
    await expect(page.locator(".answer")).to_contain_text("All at once.")
    await expect(page.locator(".by")).to_contain_text("workshop")


async def test_a_new_conversation_forgets_the_old(page: Page, scripted: ScriptedHearth) -> None:
    """Also one that is being answered, and one that is kept."""
    await page.goto(scripted.url)
    await page.click("#open-about")
    await page.check("#keep")
    await ask(page, "Hello?")
    scripted.says("Hi")
    await expect(page.locator(".answer")).to_contain_text("Hi")
    await page.click("#anew")
    await expect(page.locator("#welcome")).to_be_visible()
    await until(scripted.left.is_set)
    assert await page.evaluate("localStorage.getItem('hearth.conversation')") == "[]"
    await ask(page, "Again?")
    scripted.ends()
    await expect(page.locator(".by")).to_have_count(1)
    assert len(scripted.asked[-1]["messages"]) == 1


async def test_the_models_card_is_one_tap_away(page: Page, scripted: ScriptedHearth) -> None:
    """Licence, what it is, trained on, bad at; what nobody knows is said to be unknown."""
    scripted.models[0] = {
        "id": "smollm2-135m",
        "hearthmesh": {"local": False, "card": {"licence": "Apache-2.0", "bad_at": ["arithmetic", "names"]}},
    }
    await page.goto(scripted.url)
    await page.click("#open-about")
    texts = await page.locator(".card dt, .card dd").all_inner_texts()
    card = dict(zip(texts[::2], texts[1::2], strict=True))
    assert card == {
        "Licence": "Apache-2.0",
        "What it is": "unknown",
        "Trained on": "unknown",
        "Bad at": "arithmetic; names",
        "Where it is": "in another box nearby",
    }


def url_of(node: HearthNode) -> str:
    """Where the node's page is."""
    return f"http://{node.administration.http.host}:{node.administration.http.port}"


def worker_of(node: HearthNode) -> int:
    """The process id of the node's engine, which has answered before."""
    worker = node.administration.library._engine._worker
    assert worker is not None
    return worker.pid


async def test_a_guest_waits_at_a_whole_node(page: Page, node: HearthNode) -> None:
    """While another program's answer takes its time, the page tells its place; then it is its turn."""
    question = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    async with httpx.AsyncClient(base_url=url_of(node), timeout=60, trust_env=False) as program:
        await program.post("/v1/chat/completions", json=question)
        os.kill(worker_of(node), signal.SIGSTOP)
        try:
            before = asyncio.create_task(program.post("/v1/chat/completions", json=question))
            await until(lambda: node.administration.queries.counts().running == 1)
            await page.goto(url_of(node))
            await ask(page, "hello")
            await expect(page.locator("#status")).to_have_text("You are number 1 in the queue.")
        finally:
            os.kill(worker_of(node), signal.SIGCONT)
        assert (await before).status_code == 200
    await expect(page.locator(".by")).to_be_visible(timeout=30_000)


async def test_a_worker_that_dies_under_a_guest(page: Page, node: HearthNode) -> None:
    """What it said stays on the page; asked again, the node answers with a new one."""

    async def lengthen(route: Route) -> None:
        await route.continue_(post_data={**(route.request.post_data_json or {}), "max_tokens": 15_000})

    await page.route("**/v1/chat/completions", lengthen)
    await page.goto(url_of(node))
    await ask(page, "hello")
    await expect(page.locator(".answer")).to_have_text(re.compile(r"\S"))
    await kill_in_mid_answer(node)
    await expect(page.locator(".trouble")).to_contain_text("The model stopped in the middle. What it said so far stays")
    assert len(await page.locator(".answer > div").first.inner_text()) > 1
    await page.unroute("**/v1/chat/completions")
    await page.get_by_role("button", name="Ask again").click()
    await expect(page.locator(".by")).to_be_visible(timeout=30_000)


async def test_a_whole_node_answers_a_guest(page: Page, node: HearthNode) -> None:
    """The real API behind the page: an answer streams, is stopped, and the engine is free again."""
    await page.goto(url_of(node))
    await expect(page.locator("h1")).to_have_text("ember")
    await expect(page.locator("#models .card h3")).to_have_text("tiny")
    await ask(page, "hello")
    await expect(page.locator(".answer")).to_have_text(re.compile(r"\S"))
    await page.evaluate("document.getElementById('stop').click()")  # harmless where the answer has ended meanwhile
    await expect(page.locator(".by")).to_contain_text("Answered by ember with tiny")
    await until(lambda: node.administration.queries.counts().running == 0)
