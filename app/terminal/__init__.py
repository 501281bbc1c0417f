"""The terminal that the explorer draws on: what is typed, what is drawn, and how it is left."""
