"""Docker's metadata: layerdb, imagedb, containers, volumes and BuildKit's databases."""
