"""Checks if an SAE is used on the model it was trained on. Equal widths prove nothing: many share them.

An SAE's file may name its model, or contain the sha256 of the model's weights. Both are compared with the
present model. Knows no file formats and reads no weights.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

ModelMatch = Literal["same weights", "same name", "uncertain", "different"]

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


class TrainedOn(NamedTuple):
    """The model that an SAE's file names. Only a Hugging Face `name` contains a slash."""

    name: str | None
    revision: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        digest = f"sha256 {self.sha256[:12]}" if self.sha256 else ""
        return f"{self.name} ({digest})" if self.name and digest else self.name or digest


class ModelIdentity(NamedTuple):
    """The present model. `names` are all its names; `repo_id` is its Hugging Face id, if any."""

    names: tuple[str, ...]
    repo_id: str | None
    sha256: str


def match_model(trained_on: TrainedOn | None, model: ModelIdentity) -> ModelMatch | None:
    """Compares digests, or else names, where only two Hugging Face ids decide. None if the SAE has none."""
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
    """True if a name is equal to a known one, up to an organisation that only one of them includes."""
    return any(
        name == other or (_last_part(name) == _last_part(other) and ("/" in name) != ("/" in other))
        for other in known
    )


def _plain(name: str) -> str:
    """Normalizes a name: `open-clip:laion/CLIP@main` -> `laion/clip`."""
    return name.strip().rstrip("/").rpartition(":")[2].partition("@")[0].lower()


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]
