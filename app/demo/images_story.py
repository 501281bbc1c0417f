"""The sample's images and build cache: what shares layers with what."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from app.demo.cache import CacheSpec, directory_id, record_id, write_cache
from app.demo.content import (
    DAY,
    HOUR,
    KIB,
    MIB,
    put_bytes,
    put_empty_files,
    put_text,
    put_whiteout,
    set_age,
)
from app.demo.images import Image, ImageLayer, add_image, add_layer, start_removal, write_tags
from app.demo.layout import add_directory, mark_used


@dataclass(frozen=True, slots=True)
class Images:
    """The images that containers are made from."""

    web: Image
    old_web: Image
    dangling: Image
    postgres: Image
    elk: Image
    arroyo: Image


def add_images(root: Path) -> Images:
    """Six images on one base layer, one of them without a tag, and BuildKit's records."""
    base = add_layer(root, "debian", fill=_debian)
    runtime = add_layer(root, "python", base, _python)
    new_app = _built_layer(root, "app 2.4.1", runtime)
    images = Images(
        web=_image(root, new_app, "2025-11-03", "gunicorn", "shop.wsgi"),
        old_web=_image(
            root, _app_layer(root, "2.4.0", runtime), "2025-10-06", "gunicorn", "shop.wsgi"
        ),
        dangling=_image(
            root, _app_layer(root, "2.3.9", runtime), "2025-08-18", "gunicorn", "shop.wsgi"
        ),
        postgres=_image(
            root, add_layer(root, "postgres", base, _postgres), "2025-09-08", "postgres"
        ),
        elk=_image(root, add_layer(root, "elk", base, _elk), "2024-09-05", "start.sh"),
        arroyo=_image(
            root, add_layer(root, "arroyo", base, _arroyo), "2025-09-29", "arroyo", "cluster"
        ),
    )
    write_tags(
        root,
        {
            "acme/web:2.4.1": images.web,
            "acme/web:latest": images.web,
            "registry.example.com/shop/web:2.4.1": images.web,
            "acme/web:2.4.0": images.old_web,
            "postgres:16": images.postgres,
            "sebp/elk:8.15.1": images.elk,
            "ghcr.io/arroyosystems/arroyo:0.15": images.arroyo,
        },
    )
    start_removal(root, _app_layer(root, "2.2.0", runtime))
    _add_cache(root, new_app)
    return images


def _image(root: Path, top: ImageLayer, day: str, *command: str) -> Image:
    """An image with a fixed date, so that its id is the same in every run."""
    return add_image(root, top, f"{day}T09:30:00.123456789Z", list(command))


def _app_layer(root: Path, version: str, runtime: ImageLayer) -> ImageLayer:
    layer = add_layer(root, f"app {version}", runtime, _app)
    set_age(layer.directory.path, 60 * DAY)
    return layer


def _built_layer(root: Path, seed: str, parent: ImageLayer) -> ImageLayer:
    """A layer that a build made: its directory is BuildKit's, 25 characters, and shared with it."""
    directory = add_directory(root, directory_id(seed), parent.directory)
    mark_used(directory)
    layer = add_layer(root, seed, parent, _app, directory)
    set_age(directory.path, 2 * DAY)
    return layer


def _add_cache(root: Path, app: ImageLayer) -> None:
    base, runtime, _ = app.stack
    context, pip = record_id("context"), record_id("pip")
    put_bytes(add_directory(root, context).diff / "src/assets.tar", 3 * MIB)
    cache_mount = add_directory(root, pip)
    put_empty_files(cache_mount.diff / "http-v2/a/b", 1200, "entry-")
    put_bytes(cache_mount.diff / "wheels/torch-2.6.0-cp312.whl", 14 * MIB)
    build = add_directory(root, directory_id("compile"), base.directory)
    mark_used(build)
    put_bytes(build.diff / "build/target/release/deps/libshop.rlib", 9 * MIB)
    write_cache(
        root,
        [
            CacheSpec(record_id("base"), "pulled from debian:12-slim", chain_id=base.chain_id),
            CacheSpec(
                record_id("runtime"),
                "pulled from python:3.12-slim",
                chain_id=runtime.chain_id,
                parent=record_id("base"),
            ),
            CacheSpec(context, "local source for context", record_type="source.local"),
            CacheSpec(record_id("context alias"), "local source for context", alias_of=context),
            CacheSpec(
                pip,
                "cached mount /var/cache/pip from exec /bin/sh -c pip install -r all.txt",
                record_type="exec.cachemount",
                mount_id="pip",
            ),
            CacheSpec(
                record_id("compile"),
                "mount / from exec /bin/sh -c cargo build --release",
                committed=directory_id("compile"),
                parent=record_id("base"),
            ),
            CacheSpec(
                record_id("app"),
                "mount / from exec /bin/sh -c pip install --no-cache-dir .",
                committed=app.directory.name,
                chain_id=app.chain_id,
                parent=record_id("runtime"),
                last_used=HOUR,
            ),
        ],
        stale_chains=["sha256:" + "5" * 64],
    )


def _debian(diff: Path) -> None:
    put_text(diff / "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')
    put_bytes(diff / "usr/lib/x86_64-linux-gnu/libc.so.6", 2 * MIB)
    put_bytes(diff / "usr/bin/perl", 4 * MIB)
    # Debian ships these two names as one file.
    os.link(diff / "usr/bin/perl", diff / "usr/bin/perl5.36.0")
    (diff / "usr/bin/awk").symlink_to("/etc/alternatives/awk")
    put_empty_files(diff / "usr/share/zoneinfo/right", 350, "zone-")
    set_age(diff.parent, 200 * DAY)


def _python(diff: Path) -> None:
    library = diff / "usr/local/lib/python3.12"
    put_bytes(library / "config-3.12/libpython3.12.a", 5 * MIB)
    put_empty_files(library / "site-packages/babel/locale-data", 900, "locale-")
    put_whiteout(diff / "usr/bin/perl")
    set_age(diff.parent, 100 * DAY)


def _app(diff: Path) -> None:
    put_bytes(diff / "srv/shop/static/bundle.js", 1500 * KIB)
    put_text(diff / "srv/shop/wsgi.py", "application = object()\n")
    put_empty_files(diff / "srv/shop/locale", 120, "messages-")


def _postgres(diff: Path) -> None:
    put_bytes(diff / "usr/lib/postgresql/16/bin/postgres", 8 * MIB)
    put_empty_files(diff / "usr/share/postgresql/16/tsearch_data", 80, "dict-")
    set_age(diff.parent, 90 * DAY)


def _elk(diff: Path) -> None:
    put_bytes(diff / "opt/elasticsearch/lib/elasticsearch-8.15.1.jar", 16 * MIB)
    put_bytes(diff / "opt/logstash/vendor/jruby/lib/jruby.jar", 6 * MIB)
    put_empty_files(diff / "opt/kibana/node_modules/.cache", 700, "module-")
    set_age(diff.parent, 80 * DAY)


def _arroyo(diff: Path) -> None:
    put_bytes(diff / "usr/bin/arroyo", 7 * MIB)
    set_age(diff.parent, 70 * DAY)
