"""What a typed confirmation takes: the name that is shown, or the id where that cannot be typed."""

from __future__ import annotations

import pytest

from app.cleanup.plan.containers import word_for
from app.model import Kind, Owner

ID = "cb5ea61a8903" + "0" * 52


@pytest.mark.parametrize("name", ["noisy-api", "shop_web.1", "registry:5000/team/app:1.2"])
def test_a_name_is_typed_as_it_is_shown(name: str) -> None:
    assert word_for(Owner(Kind.CONTAINER, ID, name)) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "ev\x1b[31mil", "gr\u00f6\u00dfe", "\u202ename", "-rf", "a\n", "x" * 65]
)
def test_what_cannot_be_typed_gives_way_to_the_id(name: str) -> None:
    assert word_for(Owner(Kind.CONTAINER, ID, name)) == ID[:12]
    assert word_for(Owner(Kind.IMAGE, f"sha256:{ID}", name)) == ID[:12]
