"""The sample's containers and volumes: who fills the disk with bytes, and who with inodes."""

from __future__ import annotations

import os
from pathlib import Path

from app.demo.containers import (
    Container,
    ContainerSpec,
    add_container,
    compose_labels,
    write_log,
)
from app.demo.content import (
    DAY,
    HOUR,
    KIB,
    MIB,
    put_bytes,
    put_flood,
    put_hostile_name,
    put_text,
    put_whiteout,
    set_age,
)
from app.demo.ids import hex_id
from app.demo.images_story import Images
from app.demo.volumes import add_volume, write_volume_records

#: Escape codes, markup, a line break, a right-to-left override and a byte that is not UTF-8.
HOSTILE_NAME = b"\x1b[2J\x1b[31m[bold]invoice\nowner: nobody\xe2\x80\xae\xff.pdf"

#: 400 folders of 49 files: 20,000 inodes below the job's checkpoints.
CHECKPOINTS = "tmp/arroyo/checkpoints/job_ab12/checkpoints"
CHECKPOINT_FOLDERS = 400
FILES_PER_CHECKPOINT = 49

_PGDATA = "shop_pgdata"
_ANONYMOUS = hex_id("anonymous volume")
_FORGOTTEN = "grafana-2023"


def add_volumes(root: Path) -> None:
    """A named volume, an anonymous one, and one that no container mounts any more."""
    put_bytes(add_volume(root, _PGDATA) / "base/16384/2619", 20 * MIB)
    put_bytes(add_volume(root, _ANONYMOUS) / "dump.rdb", 3 * MIB)
    forgotten = add_volume(root, _FORGOTTEN)
    put_bytes(forgotten / "grafana.db", 11 * MIB)
    set_age(forgotten, 500 * DAY)
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.volume": "pgdata"}
    write_volume_records(
        root, {_PGDATA: compose, _ANONYMOUS: {"com.docker.volume.anonymous": ""}, _FORGOTTEN: {}}
    )


def add_containers(root: Path, images: Images) -> None:
    """A compose project of three, the two that fill the disk, and three that do not run."""
    _add_shop(root, images)
    _fill_arroyo(add_container(root, _arroyo(images)))
    _fill_elk(add_container(root, _elk(images)))
    add_container(
        root, ContainerSpec("nightly-report", images.dangling, "acme/web:2.3.9", "created")
    )
    add_container(
        root,
        ContainerSpec(
            "session-cache", images.postgres, "postgres:16", "exited", 40 * DAY,
            volumes={"/data": _ANONYMOUS},
        ),
    )  # fmt: skip


def _arroyo(images: Images) -> ContainerSpec:
    return ContainerSpec(
        "arroyo", images.arroyo, "ghcr.io/arroyosystems/arroyo:0.15", age=21 * DAY,
        command=("arroyo", "cluster"),
    )  # fmt: skip


def _elk(images: Images) -> ContainerSpec:
    return ContainerSpec(
        "elk", images.elk, "sebp/elk:8.15.1", age=63 * DAY, command=("/usr/local/bin/start.sh",)
    )


def _add_shop(root: Path, images: Images) -> None:
    web = add_container(
        root,
        ContainerSpec(
            "shop-web-1", images.web, "acme/web:2.4.1", age=4 * DAY,
            command=("gunicorn", "shop.wsgi"), labels=compose_labels("shop", "web"),
        ),
    )  # fmt: skip
    put_bytes(web.layer.diff / "var/log/shop/access.log", 6 * MIB)
    put_bytes(web.layer.diff / "srv/shop/uploads/catalogue.zip", 2 * MIB)
    put_whiteout(web.layer.diff / "srv/shop/wsgi.py")
    put_hostile_name(web.layer.diff / "srv/shop/uploads", HOSTILE_NAME)
    write_log(web.log, 4 * MIB, rotated=2)

    worker = add_container(
        root,
        ContainerSpec(
            "shop-worker-1", images.old_web, "acme/web:2.4.0", "exited", 9 * DAY,
            command=("celery", "worker"), labels=compose_labels("shop", "worker"),
        ),
    )  # fmt: skip
    put_bytes(worker.layer.diff / "tmp/render/frame.raw", 5 * MIB)
    set_age(worker.layer.path, 9 * DAY)

    database = add_container(
        root,
        ContainerSpec(
            "shop-db-1", images.postgres, "postgres:16", age=4 * DAY, command=("postgres",),
            labels=compose_labels("shop", "db"),
            volumes={"/var/lib/postgresql/data": _PGDATA},
        ),
    )  # fmt: skip
    put_text(database.layer.diff / "run/postgresql/.s.PGSQL.5432.lock", "1\n")
    write_log(database.log, 300 * KIB, rotated=0)


def _fill_arroyo(made: Container) -> None:
    """Thousands of empty files: all the inodes, hardly any bytes."""
    put_flood(made.layer.diff / CHECKPOINTS, CHECKPOINT_FOLDERS, FILES_PER_CHECKPOINT)
    write_log(made.log, 60 * KIB, rotated=0)


def _fill_elk(made: Container) -> None:
    """An index written into the container's own layer, since nobody gave it a volume."""
    index = made.layer.diff / "var/lib/elasticsearch/nodes/0/indices/logstash-2025.03/0/index"
    for number, size in enumerate((26, 14, 8)):
        put_bytes(index / f"_{number}.cfs", size * MIB)
    # Lucene takes a snapshot of a segment by a hard link.
    (index.parent / "snapshot").mkdir()
    os.link(index / "_0.cfs", index.parent / "snapshot" / "_0.cfs")
    write_log(made.log, 900 * KIB, rotated=0)
    set_age(made.layer.path, 2 * HOUR)
