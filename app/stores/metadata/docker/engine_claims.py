"""What the engine says of each layer directory, from its own inspect answers."""

from __future__ import annotations

from app.engine.inventory import EngineCacheRecord, EngineContainer, EngineImage, EngineReading
from app.model import Kind, Owner, Role
from app.stores.claims import Claims, Key


def container_owner(container: EngineContainer) -> Owner:
    """A container as the engine lists it."""
    return Owner(
        Kind.CONTAINER,
        container.id,
        name=container.name,
        state=container.state,
        image=container.image,
        compose_project=container.compose_project,
        compose_service=container.compose_service,
    )


def image_owner(image: EngineImage) -> Owner:
    """An image as the engine lists it."""
    return Owner(Kind.IMAGE, image.id, name=next(iter(image.tags), ""), tags=image.tags)


def cache_owner(record: EngineCacheRecord) -> Owner:
    """A build-cache record as the engine lists it."""
    return Owner(Kind.BUILD_CACHE, record.id, name=record.description)


def known_owners(engine: EngineReading) -> dict[Key, Owner]:
    """Every container and image that the engine lists, whether its inspect worked or not."""
    owners = [
        *map(container_owner, engine.containers.values()),
        *map(image_owner, engine.images.values()),
    ]
    return {(owner.kind, owner.id): owner for owner in owners}


def engine_claims(engine: EngineReading) -> Claims:
    """Every directory that the GraphDriver data of a container or an image names.

    Of the build cache the engine names records, no directories. A record that is still mutable has
    its own id for a directory name, though (moby snapshot.go Prepare).
    """
    claims = Claims()
    for image in engine.images.values():
        owner = image_owner(image)
        for name in image.directories:
            claim = claims.of(name)
            claim.roles.add(Role.IMAGE)
            claim.own(owner, "this is one of its layers")
            claim.say(f"engine: image inspect {image.id}", f"names {name} in GraphDriver.Data")
    for container in engine.containers.values():
        _claim_container(container, claims)
    for record in engine.cache.values():
        claim = claims.of(record.id)
        claim.own(cache_owner(record), "this is its snapshot")
        claim.say("engine: /system/df", f"lists build-cache record {record.id}")
        if not claim.roles:
            claim.roles.add(Role.BUILD_CACHE)
    return claims


def _claim_container(container: EngineContainer, claims: Claims) -> None:
    owner = container_owner(container)
    source = f"engine: container inspect {container.id}"
    for index, name in enumerate(container.directories):
        claim = claims.of(name)
        if index == 0:
            claim.roles.add(Role.WRITABLE)
            claim.own(owner, "this is its writable layer")
            claim.say(source, f"UpperDir, the writable layer of {container.name}")
        elif index == 1 and name == container.directories[0] + "-init":
            claim.roles.add(Role.INIT)
            claim.own(owner, "this is its init layer")
            claim.say(source, f"first of LowerDir, the init layer of {container.name}")
        else:
            claim.roles.add(Role.IMAGE)
            claim.refer(owner, "it stands on this layer")
            claim.say(source, f"LowerDir of {container.name}")
