"""The captured hosts: a copy to damage, and every answer that their engine would have given."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from pathlib import Path
from typing import Any

from tests.unit.containerd_files import BLOBS, META
from tests.unit.store_files import DAMAGES
from tests.unit.stub_engine import Behaviour, capture_routes, says

ROOT = "var/lib/docker"
#: The config of the image old:1 in the containerd capture.
CONFIG_OF_OLD = "7fe504fc8931fc96a30793632985a913dc00730d08dab87636c8c83ff8712421"


def copy(captures: Path, name: str, target: Path) -> Path:
    """A copy of one capture that a test may damage."""
    source = captures / name
    return Path(shutil.copytree(source, target / name, symlinks=True, ignore=_devices))


def _devices(folder: str, names: list[str]) -> list[str]:
    """Whiteouts, which are of no interest here and need root to be made."""
    kinds = (Path(folder, name).lstat().st_mode for name in names)
    return [name for name, mode in zip(names, kinds, strict=True) if stat.S_ISCHR(mode)]


def expected(capture: Path) -> dict[str, Any]:
    """The truth beside the overlay2 capture, by directory name."""
    truth: dict[str, Any] = json.loads((capture / "expected-layers.json").read_text())
    return truth


def engine_routes(capture: Path) -> dict[str, Behaviour]:
    """The captured answers with an inspect of every image, made from imagedb and layerdb.

    The capture itself was taken without image inspects.
    """
    routes = capture_routes(capture)
    driver = capture / ROOT / "overlay2"
    images = capture / ROOT / "image/overlay2"
    for config in (images / "imagedb/content/sha256").iterdir():
        diff_ids = json.loads(config.read_bytes())["rootfs"]["diff_ids"]
        chain, paths = "", []
        for diff_id in diff_ids:
            chain = _sha256(f"{chain} {diff_id}") if chain else diff_id
            entry = images / "layerdb/sha256" / chain.removeprefix("sha256:")
            paths.append(f"{driver / (entry / 'cache-id').read_text()}/diff")
        data = {"UpperDir": paths[-1]}
        if paths[:-1]:
            data["LowerDir"] = ":".join(reversed(paths[:-1]))
        routes[f"/images/sha256:{config.name}/json"] = says(
            {
                "RootFS": {"Type": "layers", "Layers": diff_ids},
                "GraphDriver": {"Name": "overlay2", "Data": data},
            }
        )
    return routes


def _sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def snapshots(capture: Path) -> dict[str, Any]:
    """The truth beside the containerd capture, by snapshot number."""
    known: dict[str, Any] = json.loads((capture / "expected-snapshots.json").read_text())
    return known


def containerd_root(capture: Path) -> Path:
    """The containerd root that lies beside the data root."""
    return capture / "var/lib/containerd"


def spoil_images(root: Path, what: str, damage: str) -> None:
    """Damage what names the layers of images: meta.db, all contents, or the config of old:1."""
    if what == "meta.db":
        DAMAGES[damage](root / META)
        return
    for blob in (root / BLOBS).iterdir():
        if what == "contents" or blob.name == CONFIG_OF_OLD:
            DAMAGES[damage](blob)


def containerd_routes(capture: Path, api: str = "1.56") -> dict[str, Behaviour]:
    """The captured answers as an engine gives them that speaks this API version at least.

    moby api/docs/CHANGELOG.md: /info has Containerd from 1.46; GraphDriver (without data) is gone
    and system/df has its new lists from 1.52.
    """
    routes = capture_routes(capture)
    version = json.loads((capture / "api/version.json").read_text())
    routes["/version"] = says({**version, "ApiVersion": "1.56", "MinAPIVersion": api})
    new = float(api.partition(".")[2]) >= 52
    info = json.loads((capture / "api/info.json").read_text())
    info["DockerRootDir"] = str(capture / ROOT)
    if float(api.partition(".")[2]) < 46:
        routes["/version"] = says({**version, "ApiVersion": api, "MinAPIVersion": "1.24"})
        del info["Containerd"]
    routes["/info"] = says(info)
    usage = json.loads((capture / "api/system-df.json").read_text())
    if new:
        usage = {"BuildCacheUsage": {"TotalCount": 1, "Items": usage["BuildCache"]}}
    routes["/system/df"] = says(usage)
    blobs = containerd_root(capture) / "io.containerd.content.v1.content/blobs/sha256"
    for image in json.loads((capture / "api/images.json").read_text()):
        manifest = json.loads((blobs / image["Id"].partition(":")[2]).read_text())
        config = (blobs / manifest["config"]["digest"].partition(":")[2]).read_text()
        layers = json.loads(config)["rootfs"]["diff_ids"]
        inspected: dict[str, Any] = {"Id": image["Id"], "RootFS": {"Layers": layers}}
        if not new:
            inspected["GraphDriver"] = {"Name": "overlayfs", "Data": None}
        routes[f"/images/{image['Id']}/json"] = says(inspected)
    return routes
