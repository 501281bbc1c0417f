"""Where the bytes of a layer lie, and which mounts use it: one room for each storage driver."""
