"""What a neighbour is told when its answer ends here."""

from collections.abc import AsyncGenerator

import pytest

from device.answering import _collect, _Outbox
from device.core.query_messages import Failed
from device.turns import AnswerEvent
from models.core.request import TokensGenerated
from models.errors import EngineError, InvalidRequestError, ModelsError, OutOfMemoryError, UnforeseenError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnforeseenError("a panic"), "unforeseen"),
        (EngineError("no number"), "engine_failed"),
        (OutOfMemoryError("too large"), "engine_failed"),
        (InvalidRequestError("schema"), "invalid_request"),
    ],
)
async def test_the_asker_learns_whether_to_ask_another(error: ModelsError, code: str) -> None:
    """What is wrong with this node, and what with the question."""

    async def failing() -> AsyncGenerator[AnswerEvent, None]:
        yield TokensGenerated((1,), "a")
        raise error

    outbox = _Outbox(still_at_it_s=60.0)
    await _collect(failing(), outbox)
    outbox.take()
    assert isinstance(outbox.last, Failed)
    assert (outbox.last.code, outbox.last.text) == (code, str(error))
