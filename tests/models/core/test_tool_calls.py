"""Laws of taking an answer apart into text and calls."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.request import ToolCall
from models.core.tool_calls import MAX_BARE_BEGINNING, MAX_CALLS, MAX_HELD_CHARACTERS, Piece, ToolCallReader
from models.errors import InvalidRequestError

NAMES = ("weather", "time")
CALL = '{"name": "weather", "arguments": {"city": "Ulm"}}'
ULM = '{"city": "Ulm"}'
FRAGMENTS = (
    *("<tool_call>", "</tool_call>", CALL, '{"name": "time", "parameters": {}}', '{"name": "rain", "arguments": {}}'),
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        "\\",
        "<",
        "</tool",
        "<tool_c",
        " ",
        "\n",
        "word",
        '{"name":',
        ' "weather"',
        "\U0001f525",
    ),
    *('{"name": "weather", "arguments": "{}"}', '{"name": "weather", "arguments": {"a": "</tool_call>}"}}', "1"),
)


def read(*pieces: str, names: tuple[str, ...] = NAMES) -> list[Piece]:
    """Read an answer; texts that follow each other are joined."""
    reader = ToolCallReader(names, id_prefix="c")
    found: list[Piece] = []
    for item in [item for piece in pieces for item in reader.feed(piece)] + reader.finish():
        if isinstance(item, str) and found and isinstance(found[-1], str):
            found[-1] += item
        else:
            found.append(item)
    return found


def call(number: int = 0, name: str = "weather", arguments: str = ULM) -> ToolCall:
    """The number-th call of an answer."""
    return ToolCall(f"c{number}", name, arguments)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12), st.data())
def test_any_chunking_gives_the_same(fragments: list[str], data: st.DataObject) -> None:
    """However the stream cuts an answer, the same text and calls come out."""
    text = "".join(fragments)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(text) == read(*pieces) == read(*text)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_text_without_calls_stays_as_it_is(fragments: list[str]) -> None:
    """Nothing is lost or moved where no known tool is called."""
    text = "".join(fragments)
    found = read(text, names=("nothing",))
    assert [text] * bool(text) == found
    assert [text] * bool(text) == read(text, names=())


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3))
def test_what_is_called_comes_out(before: str, arguments: dict[str, str]) -> None:
    """Whatever stands in the arguments, tags and braces too."""
    arguments |= {"tag": "</tool_call>", "brace": '"}]{'}
    text = json.dumps({"name": "time", "arguments": arguments}, ensure_ascii=False)
    *_, found = read(f"{before.replace('<', '')}x<tool_call>\n{text}\n</tool_call>\n")
    assert isinstance(found, ToolCall)
    assert (found.name, json.loads(found.arguments)) == ("time", arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Let me see.\n<tool_call>\n{CALL}\n</tool_call>", ["Let me see.", call()]),
        (f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>", [call(), call(1)]),
        (f"<tool_call>{CALL}", [call()]),
        (f"<tool_call>{CALL}</tool", [call()]),
        (f"<tool_call>{CALL}\n\n", [call()]),
        (f"<tool_call>{CALL}</tool_call> It rains.", [call(), " It rains."]),
        (f"<tool_call>{CALL}</tool_cal>", [call(), "</tool_cal>"]),
        (f"<tool_call>{CALL}</b>", [call(), "</b>"]),
        (f"<tool_call>{CALL}x</tool_call>", [call(), "x</tool_call>"]),
        ('\n{"name": "weather", "parameters": {"city": "Ulm"}}', [call()]),
        ('{ "name" : "weather" , "parameters": {"city": "Ulm"}} ', [call()]),
        ('{"name": "time"}', [call(name="time", arguments="{}")]),
        (r'<tool_call>{"name": "weather", "arguments": "{\"city\": \"Ulm\"}"}</tool_call>', [call()]),
    ],
)
def test_calls_are_read(text: str, expected: list[Piece]) -> None:
    """In tags anywhere, bare where the answer begins, with or without the last tag."""
    assert expected == read(text)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "rain", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "weather", "arguments": []}</tool_call>',
        '<tool_call>{"name": "weather", "arguments": "["}</tool_call>',
        '<tool_call>{"name": ["weather"]}</tool_call>',
        "<tool_call>{name: weather}</tool_call>",
        "<tool_call>weather</tool_call>",
        '<tool_call>{"name": "weather", "argum',
        '<tool_call>{"name": "weather", "a": ' + "[" * 100,
        '{"name": "Ada"}',
        'It is {"name": "weather", "arguments": {}}',
        '{"name":' + " " * MAX_BARE_BEGINNING + '"weather"}',
        "<tool_call>" + " " * MAX_HELD_CHARACTERS + CALL,
        '<tool_call>{"name": "weather", "x": "' + "x" * MAX_HELD_CHARACTERS + '"}',
        "<tool_call> <",
        "\n",
        "a < b",
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    """Unknown tools, broken JSON, objects within a sentence, and what is too long or too deep to be held."""
    assert [text] == read(text)


def test_no_half_tag_gets_out() -> None:
    """While a tag or a call may yet come, nothing of it is given out; what cannot become one is not kept waiting."""
    reader = ToolCallReader(NAMES, id_prefix="c")
    assert reader.feed("Yes \n<tool") == ["Yes"]
    assert reader.feed("_call>\n") == []
    assert reader.feed(CALL[:-1]) == []
    assert reader.feed("}") == [call()]
    assert reader.feed("</tool_call>\n<t") == []
    assert reader.feed("ea>") == ["\n<tea>"]
    assert ToolCallReader(NAMES, id_prefix="c").feed('{"name": "A') == ['{"name": "A']


def test_calls_of_an_answer_are_bounded() -> None:
    """What comes after the last that is taken stays text."""
    *calls, last = read(f"<tool_call>{CALL}</tool_call>" * (MAX_CALLS + 1))
    assert len(calls) == MAX_CALLS
    assert isinstance(last, str)


def test_a_prefix_leaves_room_for_the_number() -> None:
    """Or the ids would be none."""
    for prefix in ("", "x" * 126):
        with pytest.raises(InvalidRequestError):
            ToolCallReader(NAMES, id_prefix=prefix)
