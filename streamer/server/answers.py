"""What every route may answer, for the schema: each refusal is one sentence."""

from __future__ import annotations

from typing import Any, Final

TEXT: Final[dict[str, Any]] = {"content": {"text/plain": {"schema": {"type": "string"}}}}

SENTENCES: Final = {
    400: "A value is wrong; the body says which and what is allowed.",
    401: "The token is missing or wrong.",
    403: "A stream added over the API may not do this.",
    404: "There is no such stream, session or file.",
    406: "The offer and the server have no codec in common.",
    409: "It does not fit what runs already.",
    413: "The body is too long.",
    415: "The body is not of the type that is listed here.",
    422: "The body is not what is listed here; the answer says where.",
    429: "Too many wrong tokens came from this address.",
    503: "Not now; Retry-After says when to ask again.",
}


def says(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route."""
    return {status: {**TEXT, "description": SENTENCES[status]} for status in statuses}


# With a default, FastAPI lists no answer of its own for values that it refuses: ours are sentences.
OTHERWISE: Final[dict[int | str, dict[str, Any]]] = {
    "default": {**TEXT, "description": "Anything else: what is wrong, and what is allowed."}
}

ALWAYS: Final = {**says(401, 429), **OTHERWISE}
"""What a route that asks for the token may answer besides what it is for."""
