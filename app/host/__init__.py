"""This machine: mounts, namespaces, processes, and files that are opened and told apart safely."""
