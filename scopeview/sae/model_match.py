"""Is an SAE used on the model it was trained on? Equal widths do not say so: many models share theirs.

An SAE's file may name its model, or hold the sha256 of its weights. Both are compared with the model at hand.
Knows no file formats and reads no weights.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

ModelMatch = Literal["same weights", "same name", "uncertain", "different"]

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


class TrainedOn(NamedTuple):
    """The model that an SAE's file names. `name` holds a slash only where it is a Hugging Face id."""

    name: str | None
    revision: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        digest = f"sha256 {self.sha256[:12]}" if self.sha256 else ""
        return f"{self.name} ({digest})" if self.name and digest else self.name or digest


class ModelIdentity(NamedTuple):
    """The model at hand. `names` are all it is known by, `repo_id` is its Hugging Face id if it has one."""

    names: tuple[str, ...]
    repo_id: str | None
    sha256: str


def match_model(trained_on: TrainedOn | None, model: ModelIdentity) -> ModelMatch | None:
    """None where the SAE names no model. A digest decides; a name decides only between Hugging Face ids."""
    if trained_on is None or not (trained_on.name or trained_on.sha256):
        return None
    if trained_on.sha256:
        return "same weights" if trained_on.sha256 == model.sha256 else "different"
    name = _plain(trained_on.name or "")
    if _is_known_as(name, map(_plain, model.names)):
        return "same name"
    if _REPO_ID.fullmatch(name) and model.repo_id and _last_part(name) != _last_part(_plain(model.repo_id)):
        return "different"
    return "uncertain"


def _is_known_as(name: str, known: Iterable[str]) -> bool:
    """Equal, or equal but for an organisation that only one of the two names."""
    return any(
        name == other or (_last_part(name) == _last_part(other) and ("/" in name) != ("/" in other))
        for other in known
    )


def _plain(name: str) -> str:
    """`open-clip:laion/CLIP@main` -> `laion/clip`."""
    return name.strip().rstrip("/").rpartition(":")[2].partition("@")[0].lower()


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]
