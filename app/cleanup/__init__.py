"""May it go, and how? A removal is a Plan first; :mod:`app.cleanup.execute` alone changes things."""
