"""From what was typed (a path, an id, a name) to whose it is."""
