"""A sample data root for ``--demo``, made without Docker and without root."""
