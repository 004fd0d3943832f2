"""What people type or paste where a model is asked for."""

from __future__ import annotations

import pytest

from app.recipe.findings import Refused
from app.web.pages.typed import exact_reference, typed_number, typed_reference


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("owner/model", "owner/model"),
        ("  owner/model@v1.0 ", "owner/model@v1.0"),
        ("local:shelf/one", "local:shelf/one"),
        ("owner/model+owner/lora", "owner/model+owner/lora"),
        ("https://huggingface.co/owner/model", "owner/model"),
        ("https://huggingface.co/owner/model/tree/refs%2Fpr%2F1?x=1#top", None),
        ("https://hub.example/owner/model/tree/main/", "owner/model@main"),
        ("http://hub.example/owner/model/blob/abc123/config.json", "owner/model@abc123"),
    ],
)
def test_what_is_meant(typed: str, meant: str | None) -> None:
    assert exact_reference(typed) == (meant or "")
    if meant:
        assert str(typed_reference(typed)) == meant


@pytest.mark.parametrize(
    "typed",
    ["", "model", "../../etc/passwd", "/etc", "./here", "~/models/x", "file:///etc/passwd", "javascript:alert(1)/x",
     "https://host/", "owner/model/extra", "owner/mo del", "owner/model\x00", "owner/model+lora", "ftp://host/owner/model"],
)  # fmt: skip
def test_anything_else_is_refused_in_words(typed: str) -> None:
    assert exact_reference(typed) == ""
    with pytest.raises(Refused) as refused:
        typed_reference(typed)
    assert refused.value.findings[0].text


def test_a_number_has_a_point_or_a_comma() -> None:
    assert [typed_number(one, "weight") for one in ("0.5", "0,5", "-1,25", "2")] == [0.5, 0.5, -1.25, 2.0]
    for typed in ("0, 5", "0,5,1", "half", ""):
        with pytest.raises(Refused):
            typed_number(typed, "weight")
