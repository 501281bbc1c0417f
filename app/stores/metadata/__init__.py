"""Who names a layer: one room for each kind of metadata."""
