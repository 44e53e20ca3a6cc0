"""The base of every schema: layers are ints or "embed", tokens are strings, and every float is finite."""

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
