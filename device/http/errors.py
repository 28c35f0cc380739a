"""Every error leaves the API in OpenAI's shape: `{"error": {"message", "type", "param", "code", "hint"}}`.

On Ollama's paths it has Ollama's, `{"error": message}`, with code and hint beside it.
"""

import http
from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import device.errors
import mesh.errors
import models.errors

RETRY_AFTER_S: Final = 5

# Of these paths only some are served here; the others are answered in the words of whoever asks there.
OLLAMA_PATHS: Final = frozenset(
    f"/api/{name}"
    for name in (
        *("chat", "generate", "tags", "show", "version", "ps"),
        *("embed", "embeddings", "pull", "push", "create", "copy", "delete"),
    )
)
EMBEDDING_PATHS: Final = frozenset({"/v1/embeddings", "/api/embed", "/api/embeddings"})

# Error class -> (HTTP status, code); a class that is not listed is answered as its nearest ancestor.
STATUS: Final[Mapping[type[Exception], tuple[int, str]]] = {
    Exception: (500, "internal_error"),
    device.errors.BadRequestError: (400, "invalid_value"),
    device.errors.NotSupportedError: (400, "unsupported_parameter"),
    device.errors.RequestTooLargeError: (413, "request_too_large"),
    device.errors.RequestTooSlowError: (408, "request_too_slow"),
    device.errors.ForbiddenError: (403, "forbidden"),
    device.errors.NoSuchRouteError: (404, "unknown_url"),
    device.errors.NoSuchModelError: (404, "model_not_found"),
    device.errors.NoSuchNodeError: (404, "node_not_found"),
    device.errors.AmbiguousNodeError: (400, "node_ambiguous"),
    device.errors.NodeUnreachableError: (503, "node_unreachable"),
    device.errors.AnswerLostError: (502, "answer_lost"),
    device.errors.EnginesEndedError: (400, "engines_ended"),  # no 5xx: clients would send it again by themselves
    device.errors.NeighbourMisbehavedError: (502, "neighbour_misbehaved"),
    device.errors.BusyError: (503, "busy"),
    device.errors.StoppingError: (503, "stopping"),
    device.errors.UnknownKeyError: (401, "invalid_api_key"),
    device.errors.TooManyRequestsError: (429, "rate_limit_exceeded"),
    device.errors.BudgetUsedUpError: (429, "insufficient_quota"),
    device.errors.NoSuchKeyError: (404, "key_not_found"),
    device.errors.NotSharedError: (403, "not_shared"),
    device.errors.NotPublishedError: (404, "model_not_published"),
    device.errors.RetiredModelError: (409, "model_retired"),
    device.errors.RetiringNotAllowedError: (403, "not_allowed"),
    device.errors.StrangersReleaseError: (502, "release_refused"),
    device.errors.NoHolderError: (503, "no_holder"),
    models.errors.InvalidRequestError: (400, "invalid_value"),
    models.errors.InvalidTemplateError: (400, "invalid_value"),
    models.errors.UnsupportedModelError: (400, "model_unsupported"),
    models.errors.PromptTooLongError: (400, "context_length_exceeded"),
    models.errors.ModelNotFoundError: (404, "model_not_found"),
    models.errors.AmbiguousModelError: (400, "model_ambiguous"),
    models.errors.WorkerDiedError: (500, "worker_died"),
    models.errors.QueueFullError: (503, "busy"),
    models.errors.StoreWriteError: (507, "store_unwritable"),
    device.errors.WontFitError: (507, "wont_fit"),
    models.errors.NotEnoughSpaceError: (507, "not_enough_space"),
    models.errors.NotEnoughMemoryError: (507, "not_enough_memory"),
    models.errors.InvalidCardError: (400, "invalid_value"),
    models.errors.InvalidReleaseError: (502, "invalid_release"),
    models.errors.QuotaExceededError: (507, "quota_exceeded"),
    models.errors.DamagedModelError: (409, "model_damaged"),
    models.errors.InvalidBundleError: (400, "invalid_bundle"),
    models.errors.NameTakenError: (409, "name_taken"),
    models.errors.FetchError: (502, "fetch_failed"),
    models.errors.ChecksumMismatchError: (502, "checksum_mismatch"),
    mesh.errors.LinkDownError: (503, "node_unreachable"),
    mesh.errors.QueueFullError: (503, "busy"),
    mesh.errors.MessageTooLargeError: (413, "request_too_large"),
    mesh.errors.NoCommunityError: (409, "no_community"),
    mesh.errors.AlreadyMemberError: (409, "already_member"),
    mesh.errors.UnknownNodeError: (404, "node_not_found"),
    mesh.errors.NotAllowedError: (403, "not_allowed"),
    mesh.errors.UnknownProposalError: (404, "proposal_not_found"),
    mesh.errors.NothingSignedError: (409, "nothing_signed"),
    mesh.errors.WrongPaperError: (400, "wrong_paper"),
    mesh.errors.FeedBehindError: (409, "feed_behind"),
    mesh.errors.FeedFullError: (409, "feed_full"),
    mesh.errors.BoardChangedError: (409, "board_changed"),
    mesh.errors.PairingError: (409, "pairing_failed"),
    mesh.errors.WrongWordsError: (400, "wrong_words"),
    mesh.errors.NoOfferError: (404, "no_offer"),
    mesh.errors.DoorRefusedError: (503, "door_refused"),
    mesh.errors.StorageError: (507, "store_unwritable"),
}

# What a neighbour's FAILED means to whoever asked here; the same answers as if it had happened on this node.
NEIGHBOUR_STATUS: Final[Mapping[str, tuple[int, str]]] = {
    "no_such_model": (404, "model_not_found"),
    "prompt_too_long": (400, "context_length_exceeded"),
    "invalid_request": (400, "invalid_value"),
    "busy": (503, "busy"),
    "stopping": (503, "stopping"),
    "engine_failed": (502, "neighbour_failed"),
    "unforeseen": (502, "neighbour_failed"),
}


def status_of(error: Exception) -> tuple[int, str]:
    """HTTP status and code of an error."""
    if isinstance(error, device.errors.NeighbourFailedError):
        return NEIGHBOUR_STATUS[error.code]
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_fields(error: Exception) -> dict[str, object]:
    """The object that stands under "error"; what is no error of ours keeps its text to itself."""
    status, code = status_of(error)
    known = isinstance(error, device.errors.DeviceError | mesh.errors.MeshError | models.errors.ModelsError)
    return {
        "message": str(error) if known else "something went wrong inside the node",
        "type": "invalid_request_error" if status < http.HTTPStatus.INTERNAL_SERVER_ERROR else "server_error",
        "param": getattr(error, "param", None),
        "code": code,
        "hint": getattr(error, "hint", "see the daemon's log"),
    }


def ollama_error(error: Exception) -> dict[str, object]:
    """The same for Ollama's clients, who look for a text under "error"."""
    fields = error_fields(error)
    return {"error": fields["message"], "code": fields["code"], "hint": fields["hint"]}


def error_response(error: Exception, *, path: str = "") -> Response:
    """Answer a request for `path` with an error."""
    status, _ = status_of(error)
    headers = {}
    if status in (http.HTTPStatus.SERVICE_UNAVAILABLE, http.HTTPStatus.TOO_MANY_REQUESTS):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    if status == http.HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, device.errors.RequestTooLargeError | device.errors.RequestTooSlowError):
        headers["Connection"] = "close"  # the rest of that body is not read
    body = ollama_error(error) if path in OLLAMA_PATHS else {"error": error_fields(error)}
    return JSONResponse(body, status, headers)


async def on_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for every kind of error."""
    return error_response(error, path=request.url.path)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for its own: no such path, no such method."""
    path = request.url.path
    absent = "embeddings are not made by this version"
    nothing = "there is nothing at this path for this method"
    raised = device.errors.NoSuchRouteError(absent if path in EMBEDDING_PATHS else nothing)
    response = error_response(raised, path=path)
    if isinstance(error, HTTPException):
        response.status_code = error.status_code
        response.headers.update(error.headers or {})
    return response
