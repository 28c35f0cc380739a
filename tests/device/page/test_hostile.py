"""What models and neighbours may say, and what a browser shows of it: text, never markup, nothing from elsewhere."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, expect

from tests.device.page.scripted import ABOUT, ScriptedHearth
from tests.device.page.test_talking import ask

pytestmark = [pytest.mark.browser, pytest.mark.program("chromium"), pytest.mark.asyncio(loop_scope="module")]

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\x1b[31mred\x1b]0;title\x07\u202eevil\u202c"
RENDER = """text => {
  const place = document.createElement("div");
  Markdown.blocks(text).forEach(block => place.appendChild(Markdown.build(block)));
  return place.innerHTML;
}"""
IN_SLICES = """([text, size]) => {
  const whole = document.createElement("div");
  let drawn = 0;
  for (let end = size; end < text.length + size; end += size) {
    const soFar = text.slice(0, end);
    const blocks = Markdown.blocks(soFar);
    for (const settled = Markdown.settled(soFar); drawn < settled; drawn += 1) {
      whole.appendChild(Markdown.build(blocks[drawn]));
    }
  }
  Markdown.blocks(text).slice(drawn).forEach(block => whole.appendChild(Markdown.build(block)));
  return whole.innerHTML;
}"""


@pytest_asyncio.fixture(loop_scope="module")
async def requests(visitor: BrowserContext) -> AsyncIterator[list[str]]:
    """Every address that the page asks for, and dialogs that nobody may open."""
    asked: list[str] = []
    visitor.on("request", lambda request: asked.append(request.url))
    visitor.on("dialog", lambda dialog: asked.append(f"dialog: {dialog.message}"))
    yield asked


async def test_an_answer_full_of_html_is_text(page: Page, scripted: ScriptedHearth, requests: list[str]) -> None:
    """Tags, terminal escapes and text that runs backwards stand there as characters; nothing runs, nothing loads."""
    evil_markdown = f"# {EVIL}\n\n- {EVIL}\n\n`{EVIL}`\n\n```\n{EVIL}\n```\n\n![x](http://evil.example/a.png) {EVIL}"
    await page.goto(scripted.url)
    await ask(page, EVIL)
    scripted.says(evil_markdown, by={**ABOUT, "node_name": EVIL, "model": EVIL})
    scripted.ends(node_name=EVIL, model=EVIL)
    await expect(page.locator(".by")).to_be_visible()
    assert await page.locator("main img, main script, main iframe, main style").count() == 0
    text = await page.locator("main").inner_text()
    assert text.count("<img src=x onerror=alert(1)>") >= 7
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert [url for url in requests if not url.startswith(scripted.url)] == []


async def test_a_models_name_and_card_are_text(page: Page, scripted: ScriptedHearth, requests: list[str]) -> None:
    """A neighbour chooses them."""
    scripted.models[0] = {"id": EVIL, "hearthmesh": {"licence": EVIL, "description": {"a": 1}, "card": 5}}
    await page.goto(scripted.url)
    await page.click("#open-about")
    await expect(page.locator(".card h3")).to_contain_text("<img src=x onerror=alert(1)>")
    assert await page.locator(".card img, .card script").count() == 0
    assert [url for url in requests if not url.startswith(scripted.url)] == []


async def test_a_nodes_name_is_text(visitor: BrowserContext) -> None:
    """In the title and the heading, whatever its owner called it, even after a place of the document."""
    async with ScriptedHearth("{{scripts}}</title><script>alert(1)</script>").open() as hearth:
        page = await visitor.new_page()
        await page.goto(hearth.url)
        await expect(page.locator("h1")).to_have_text(hearth.name)
        assert await page.title() == f"{hearth.name} · Hearthmesh"


WRITTEN = {
    "one\ntwo\n\nthree": "<p>one\ntwo</p><p>three</p>",
    "**bold** *it* __b__ _i_": "<p><strong>bold</strong> <em>it</em> <strong>b</strong> <em>i</em></p>",
    "`c <b>` **_x_**": "<p><code>c &lt;b&gt;</code> <strong><em>x</em></strong></p>",
    "2 * 3 * 4, a_b_c, \\*no\\*": "<p>2 * 3 * 4, a_b_c, *no*</p>",
    "# T ##\n# #\n# C#\n# a # b # ": "<h3>T</h3><h3>#</h3><h3>C#</h3><h3>a # b</h3>",
    "# T\n### *U*\ntext": "<h3>T</h3><h3><em>U</em></h3><p>text</p>",
    "- a\n- b\n  - c\n  more": "<ul><li>a</li><li>b<ul><li>c\nmore</li></ul></li></ul>",
    "3. d\n4. e": '<ol start="3"><li>d</li><li>e</li></ol>',
    "> said\n> so": "<blockquote><p>said\nso</p></blockquote>",
    "a\n\n---\n\nb": "<p>a</p><hr><p>b</p>",
    "```py\n'<i>'\n\n# y\n```\nz": "<pre tabindex=\"0\"><code>'&lt;i&gt;'\n\n# y</code></pre><p>z</p>",
    "```\nnever closed": '<pre tabindex="0"><code>never closed</code></pre>',
    "| a | b |\n|---|---|": '<pre tabindex="0"><code>| a | b |\n|---|---|</code></pre>',
    "[x](javascript:alert(1)) [y](data:a,z)": "<p>[x](javascript:alert(1)) [y](data:a,z)</p>",
    "[z](/v1/models)": "<p>[z](/v1/models)</p>",
    "***": "<hr>",
    "": "",
}


@pytest.mark.parametrize(("text", "html"), WRITTEN.items())
async def test_markdown_as_models_write_it(page: Page, scripted: ScriptedHearth, text: str, html: str) -> None:
    """Paragraphs, headings, lists, code, quotes, bold and italic; what is none of it stays as it is written."""
    await page.goto(scripted.url)
    assert await page.evaluate(RENDER, text) == html


async def test_a_link_shows_where_it_leads(page: Page, scripted: ScriptedHearth) -> None:
    """The target is in sight, also with letters that look like others; who is there learns nothing of this page."""
    await page.goto(scripted.url)
    shown = await page.evaluate(RENDER, "[my bank](https://b\u0430nk.example/a) or https://plain.example/b.")
    attributes = 'rel="noopener noreferrer nofollow" target="_blank"'
    first, second = "https://xn--bnk-6cd.example/a", "https://plain.example/b"
    assert shown == (
        f'<p>my bank (<a href="{first}" {attributes}>{first}</a>) or <a href="{second}" {attributes}>{second}</a>.</p>'
    )


LONG = (
    "# Bread\n\nIt is **made** of\nthese:\n\n- flour\n- water\n  - *clean*\n- salt\n\n***bold***\n--- no rule\n\n"
    "```\ncode # 1\n```\n1. mix\n2. wait\n\n> patience\n\n| a |\n| b |\n\nEnd: https://x.example/a_b_c."
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_markdown_comes_out_the_same_however_it_arrives(page: Page, scripted: ScriptedHearth, size: int) -> None:
    """What was built while the answer streamed is what the whole answer gives."""
    await page.goto(scripted.url)
    assert await page.evaluate(IN_SLICES, [LONG, size]) == await page.evaluate(RENDER, LONG)


SLOW = ("[" * 200_000, "*" * 200_000, "`a" * 100_000, "- \n" * 60_000, "[a](" * 50_000, " " * 200_000, "h" * 200_000)


@pytest.mark.parametrize("text", SLOW)
async def test_text_made_to_be_slow_is_not(page: Page, scripted: ScriptedHearth, text: str) -> None:
    """The work grows with the text and no faster: a long answer of markup does not hang a phone."""
    await page.goto(scripted.url)
    assert len(await page.evaluate(RENDER, text)) < 10 * len(text)


@pytest.mark.parametrize("line", ["# a" + " " * 9_900 + "#b", "# a" + " #" * 4_900 + "b", "# a " + "#" * 9_900])
async def test_headings_made_to_be_slow_are_not(page: Page, scripted: ScriptedHearth, line: str) -> None:
    """Their end is looked for from the end: no engine of a browser begins anew at every blank."""
    await page.goto(scripted.url)
    draw = "line => { for (let n = 0; n < 4000; n += 1) { Markdown.build(Markdown.blocks(line)[0]); } return true; }"
    assert await page.evaluate(draw, line)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
async def test_events_survive_any_slicing(page: Page, scripted: ScriptedHearth, size: int) -> None:
    """However the network cuts them, the same events and comments come out."""
    await page.goto(scripted.url)
    stream = ': queue 3\n\ndata: {"a":1}\n\ndata: x\ndata: y\r\n\r\nevent: z\n:bye\ndata:[DONE]\n\ndata: unfinished'
    got = await page.evaluate(
        """([stream, size]) => {
          const got = [];
          const reader = Events.reader({ data: text => got.push(text), note: text => got.push("# " + text) });
          for (let at = 0; at < stream.length; at += size) { reader.feed(stream.slice(at, at + size)); }
          return got;
        }""",
        [stream, size],
    )
    assert got == ["# queue 3", '{"a":1}', "x\ny", "# bye", "[DONE]"]


async def test_nonsense_for_an_answer_is_a_broken_one(page: Page, scripted: ScriptedHearth) -> None:
    """Events that are no JSON, or hold something else, end in words and not in silence."""
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    scripted.says("So far")
    scripted._lines.put_nowait("data: {nonsense\n\n")
    await expect(page.locator(".trouble")).to_contain_text("broke off")
    await expect(page.locator(".answer")).to_contain_text("So far")
