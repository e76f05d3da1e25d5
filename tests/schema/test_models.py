"""The list of models as OpenAI's clients read it."""

import json

from kproxy.schema.models import ModelObject, model_body, models_body

AUTO = ModelObject("auto", 1743710400, "kairosroute")


def test_one() -> None:
    assert json.loads(model_body(AUTO)) == {
        "id": "auto",
        "object": "model",
        "created": 1743710400,
        "owned_by": "kairosroute",
    }


def test_a_list_keeps_its_order() -> None:
    listed = json.loads(models_body((AUTO, ModelObject("a", 1, "b"))))
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["auto", "a"]
