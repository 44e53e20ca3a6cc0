"""What OpenAPI says of answers: what was found, and every error that an operation may answer with."""

from typing import Any

from app.web.errors import ProblemBody

Responses = dict[int | str, dict[str, Any]]

FOUND = "found"


def problem(description: str) -> dict[str, Any]:
    return {"model": ProblemBody, "description": description}


NOT_FOUND: Responses = {404: problem("unknown or malformed id")}
ANY_GET: Responses = {
    429: problem("`too_many_at_once`: too many requests from this address wait already; see Retry-After"),
    503: problem("`damaged`: a file of the index is not what was written"),
}
"""Of every GET: whoever asks it, and of whatever."""
ERRORS: Responses = {
    **NOT_FOUND,
    422: problem("a query value that is not accepted; `detail` names what is"),
    **ANY_GET,
}
REMOVED: Responses = {410: problem("an image that the operator of this server removed")}
GONE: Responses = {410: problem("expired, deleted, or removed by the operator")}
ENCODER: Responses = {
    429: problem(
        "`too_much_model_time`: the model has worked a lot for this address; `too_many_at_once`: too many"
        " requests from it wait already; see Retry-After"
    ),
    503: problem(
        "`encoder_absent`, `busy`, `too_slow` or `device_failed`: no encoder here, or not now, see"
        " Retry-After; `damaged`: a file of the index is not what was written"
    ),
}
"""Of what runs the model, in place of `ANY_GET`."""
