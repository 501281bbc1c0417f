"""Where data roots are, and how far each is believed: candidates, their shape, their standing."""
