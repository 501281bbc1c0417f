"""Docker's overlay2: directories with `link` and `lower`, and the tokens in `l/`."""
