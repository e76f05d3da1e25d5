"""Model names go in; the bodies of `GET /v1/models` come out (contract section 1)."""

from typing import Literal

import msgspec

__all__ = ["ModelList", "ModelObject", "model_body", "models_body"]


class ModelObject(msgspec.Struct, frozen=True):
    """One model. `created` is in seconds since 1970; `owned_by` is a provider's slug."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    """All models, `auto` first."""

    data: tuple[ModelObject, ...]
    object: Literal["list"] = "list"


_encode = msgspec.json.Encoder().encode


def model_body(model: ModelObject) -> bytes:
    """One model as JSON."""
    return _encode(model)


def models_body(models: tuple[ModelObject, ...]) -> bytes:
    """The list as JSON, in the order given."""
    return _encode(ModelList(models))
