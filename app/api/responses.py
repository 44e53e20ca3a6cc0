"""OpenAPI descriptions of answers: results, and every error that an operation may return."""

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
"""Errors that every GET may return."""
ERRORS: Responses = {
    **NOT_FOUND,
    422: problem("invalid query value; `detail` names what is accepted"),
    **ANY_GET,
}
REMOVED: Responses = {410: problem("image removed by the operator of this server")}
GONE: Responses = {410: problem("expired, deleted, or removed by the operator")}
ENCODER: Responses = {
    429: problem(
        "`too_much_model_time`: model time of this address used up; `too_many_at_once`: too many"
        " requests from it wait already; see Retry-After"
    ),
    503: problem(
        "`encoder_absent`, `busy`, `too_slow` or `device_failed`: no model on this server, or busy, see"
        " Retry-After; `damaged`: a file of the index is not what was written"
    ),
}
"""Errors of operations that run the model, in place of `ANY_GET`."""
