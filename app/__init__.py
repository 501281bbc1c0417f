"""whodiff: who owns that huge directory on a Docker host, how much is it, and may it go?"""

__version__ = "0.1.0"
