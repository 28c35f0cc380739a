"""Bodies of /v1/completions."""

import json
from typing import Any

import pytest

from device.core.completion_request import parse_completion_request
from device.errors import BadRequestError, NotSupportedError


def body(**fields: Any) -> bytes:  # noqa: ANN401  anything JSON can say
    """A body with a text and these fields."""
    return json.dumps({"prompt": "Once", **fields}).encode()


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_text_is_taken_as_it_is(prompt: object) -> None:
    """One text, or a list of one; no conversation around it."""
    chat = parse_completion_request(body(prompt=prompt, logprobs=2, max_tokens=3, stream=True, model="m"))
    assert (chat.generation.prompt, chat.generation.messages, chat.generation.logprobs) == ("Once", (), 2)
    assert (chat.generation.sampling.max_tokens, chat.stream, chat.model) == (3, True, "m")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [""]}, "prompt"),
        ({"prompt": [1]}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": "x" * 600_000}, "prompt"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], param: str) -> None:
    """As for conversations."""
    with pytest.raises(BadRequestError) as raised:
        parse_completion_request(body(**fields))
    assert raised.value.param == param


@pytest.mark.parametrize(
    "fields", [{"n": 2}, {"best_of": 3}, {"echo": True}, {"suffix": "end"}, {"prompt": ["a", "b"]}, {"prompt": [1, 2]}]
)
def test_what_would_change_the_answer_is_refused(fields: dict[str, object]) -> None:
    """Not ignored: the answer would be another than the one asked for."""
    with pytest.raises(NotSupportedError):
        parse_completion_request(body(**fields))
