"""Chat templates render as Hugging Face's do, and a hostile one ends in an error, soon."""

import resource
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidTemplateError
from models.templates import MAX_SOURCE_CHARACTERS, ChatTemplate
from tests.models.tiny import TEMPLATE

BEGIN, END = "<s>", "</s>"
CONVERSATION = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def _render(source: str, messages: list[dict[str, str]] | None = None) -> str:
    template = ChatTemplate(source, bos_token=BEGIN, eos_token=END)
    return template.render(CONVERSATION if messages is None else messages)


def test_chatml() -> None:
    """The default model's kind of template, with and without the opening of an answer."""
    template = ChatTemplate(TEMPLATE, bos_token="", eos_token="")
    turns = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    assert turns + "<|im_start|>assistant\n" == template.render(CONVERSATION)
    assert turns == template.render(CONVERSATION, add_generation_prompt=False)


def test_the_dialect_of_hugging_face() -> None:
    """Trimmed blocks, loop controls, namespaces, generators of text, JSON with readable letters, tools set to none."""
    source = """{{ bos_token }}
{%- set ns = namespace(n=0) %}
{% for message in messages %}
    {% if loop.first %}{% set ns.n = loop.index %}{% continue %}{% endif %}
{{ message['role'] | upper }}={{ message.content.strip() | tojson }}{{ eos_token if loop.last else '' }}
{% endfor %}
{{ ns.n }}{{ tools is none }}{{ range(3) | list }}{{ {'é': '<'} | tojson }}"""
    assert _render(source) == '<s>ASSISTANT="Hello"</s>\n1True[0, 1, 2]{"é": "<"}'


def test_a_template_may_refuse_the_conversation() -> None:
    """Its own words reach the person who asked."""
    with pytest.raises(InvalidTemplateError, match="refuses these messages: roles must alternate"):
        _render("{{ raise_exception('roles must alternate') }}")


HOSTILE = {
    "no Jinja": "{% for %}",
    "an unknown filter": "{{ 1 | shell }}",
    "deep nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep blocks": "{% if 1 %}" * 300 + "{% endif %}" * 300,
    "too long": "x" * (MAX_SOURCE_CHARACTERS + 1),
    "Python's objects": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "a function's globals": "{{ raise_exception.__globals__['json'] }}",
    "writing to the messages": "{{ messages.append(1) }}",
    "format strings": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "division by zero": "{{ 1 / 0 }}",
    "a wrong type": "{{ 'a' + 1 }}",
    "an unknown name's attribute": "{{ nobody.name }}",
    "an endless count": "{% for i in range(10**12) %}{% endfor %}",
    "a long count": "{% for i in range(1000000000) %}{% endfor %}",
    "loops in loops": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "loops over letters": "{% set s = 'x' * 9999 %}{% for i in s %}{% for j in s %}{% endfor %}{% endfor %}",
    "a recursive loop": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a branching macro": "{% macro m(n) %}{% if n %}{{ m(n-1) ~ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "squares": "{% set ns = namespace(n=9) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "a doubling string": "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "a wide string": "{{ 'x' | center(100000000000) }}",
    "a large repetition": "{{ 'x' * 1000000000 }}",
    "much output": "{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
    "an include": "{% include '/etc/passwd' %}",
    "lipsum": "{{ lipsum() }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_end_in_an_error(name: str) -> None:
    """Neither Python, nor the files, nor endless time or memory are within a template's reach."""
    started = time.monotonic()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(InvalidTemplateError):
        _render(HOSTILE[name])
    assert limits == resource.getrlimit(resource.RLIMIT_AS)
    assert time.monotonic() - started < 20  # far above what any of them takes; endless is what it catches


def test_half_a_surrogate_becomes_text() -> None:
    """What a template writes can always be encoded."""
    assert _render(r"{{ '\ud83d' }}") == "?"


@settings(deadline=None)
@given(st.text(max_size=20))
def test_contents_are_never_run(content: str) -> None:
    """A message is data: Jinja's own marks in it stay as they are."""
    marked = "{{ 1 + 1 }}{% raw %}" + content
    message = [{"role": "user", "content": marked}]
    assert marked == _render("{{ messages[0].content }}", message)


def test_tools_as_hugging_faces_templates_ask_for_them() -> None:
    """Whether there are any, each as JSON in any layout, calls with arguments as an object or as text, and results."""
    source = """{% if tools is not none %}{% for tool in tools %}{{ tool | tojson(indent=2) }}
{{ tool.function.name }}{{ tool | tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true) }}
{% endfor %}{% endif %}
{% for message in messages %}
{% if message.role == 'assistant' and 'tool_calls' in message and message.tool_calls | length == 1 %}
{% set call = message.tool_calls[0].function %}
{{ call.name }}({% if call.arguments is string %}{{ call.arguments }}{% else %}{{ call.arguments | tojson }}{% endif %})
{% elif message.role == 'tool' or message['role'] == 'ipython' %}
{{ message.name }}={{ message.content | tojson }}
{% endif %}
{% endfor %}"""
    call = {"type": "function", "id": "c", "function": {"name": "weather", "arguments": {"city": "Köln"}}}
    messages: list[dict[str, object]] = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "c", "name": "weather"},
    ]
    tool = {"function": {"name": "é"}}
    template = ChatTemplate(source, bos_token="", eos_token="")
    assert template.knows_tools
    assert not template.writes_tool_call_tags
    turns = 'weather({"city": "Köln"})\nweather="rain"\n'
    listed = '{\n  "function": {\n    "name": "é"\n  }\n}\né{"function":{"name":"é"}}\n'
    assert listed + turns == template.render(messages, tools=[tool])
    assert turns == template.render(messages)


@pytest.mark.parametrize(("source", "knows", "tags"), [("{{ tools }}<tool_call>", True, True), ("x", False, True)])
def test_what_a_template_says_of_tools(source: str, *, knows: bool, tags: bool) -> None:
    """One without a word of them gets them in words, with tags for the calls."""
    template = ChatTemplate(source, bos_token="", eos_token="")
    assert (template.knows_tools, template.writes_tool_call_tags) == (knows, tags)
