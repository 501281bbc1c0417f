"""No directory is listed twice at a time, and nothing that was asked for is forgotten."""

from __future__ import annotations

from app.outline.levels import Place
from app.screens.listings import Listings


def test_who_asks_while_it_is_listed_gets_one_more_listing_after_it() -> None:
    listings, here, there = Listings(), Place(b"/a", b"/a"), Place(b"/b", b"/b")
    assert listings.begin(here)
    assert listings.begin(there)
    assert not listings.begin(here)
    assert not listings.begin(here)
    assert listings.end(here)
    assert listings.begin(here)
    assert not listings.end(here)
    assert not listings.end(there)
    assert not listings.end(there), "a listing that nobody asked for here"
