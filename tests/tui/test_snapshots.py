"""The explorer on a real Engine 29 host: snapshots under their owners, in both views."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.explorer import NARROW, WIDE, exploring, wish

BOTH_SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])


@pytest.fixture
def root(captures: Path) -> Path:
    return captures / "containerd/var/lib/docker"


@BOTH_SIZES
async def test_a_container_opens_to_its_snapshots_and_files(
    root: Path, size: tuple[int, int]
) -> None:
    async with exploring(wish(root), size) as it:
        assert {"containers (6)", "images (4)", "build cache (11)", "volumes (2)"} <= set(it.names)
        await it.press("n")
        await it.go_to("couchdb")
        await it.press("enter")
        await it.until(lambda: any("writable layer" in name for name in it.names))
        assert any("logs and settings" in name for name in it.names)
        await it.go_to("writable layer snaps")
        await it.press("right")
        await it.until(lambda: any("fs/" in name for name in it.names))
        await it.press("v")
        assert "writable" in it.cursor or "29" in it.cursor


async def test_the_details_name_the_key_and_the_databases(root: Path) -> None:
    async with exploring(wish(root), (120, 60)) as it:
        await it.press("n", "v")
        await it.go_to("25  shop-web-1 (writable)"[:14])
        await it.until(lambda: "active" in it.text)
        for words in ("snapshots/25", "moby", "shop-web-1", "metadata.db"):
            assert words in it.text, it.text


async def test_the_filter_finds_a_snapshot_by_its_key(root: Path) -> None:
    async with exploring(wish(root)) as it:
        await it.press("/", *"ln526hbt", "enter")
        await it.until(lambda: any("snapshots/21" in name for name in it.names))
        assert not any("snapshots/20" in name for name in it.names)


async def test_an_image_shows_what_it_takes_compressed(root: Path) -> None:
    async with exploring(wish(root), (160, 40)) as it:
        await it.press("/", *"old:1", "enter")
        await it.until(lambda: any("old:1" in name and "shared" in name for name in it.names))
        await it.go_to("old:1  own")
        await it.press("right")
        await it.until(lambda: any("compressed (2 blobs)" in name for name in it.names))
