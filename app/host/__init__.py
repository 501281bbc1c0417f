"""This machine: what a file is, whatever its name says."""
