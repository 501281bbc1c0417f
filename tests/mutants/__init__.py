"""Guards broken on purpose: each must turn a test red. See `python -m tests.mutants --help`."""
