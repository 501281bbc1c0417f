"""How it goes: the only code that changes anything, and only by a plan that was confirmed."""
