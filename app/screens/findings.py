"""What the explorer has been told so far: names, how full the filesystems are, what is amiss."""

from __future__ import annotations

from app.discovery.request import Survey
from app.model import Headroom, Problem, Store, within
from app.screens.dialogs import problem_sections
from app.usage.figures import Figures
from widgets.details_pane import Section


class Findings:
    """The newest survey and headroom, and what they and the figures have in common."""

    def __init__(self, figures: Figures) -> None:
        self.survey: Survey | None = None
        self.failure = ""  # why the names could not be read again since
        self.headrooms: dict[bytes, Headroom] = {}
        self._figures = figures

    @property
    def asking(self) -> bool:
        """Whether the engine's answer is still to come."""
        return bool(self.survey and not self.survey.final and not self.failure)

    @property
    def stores(self) -> tuple[Store, ...]:
        """The data roots with their answers; none before the first survey."""
        return self.survey.stores if self.survey else ()

    def witnesses(self) -> tuple[str, ...]:
        """Who named the owners, each answer once."""
        return tuple(dict.fromkeys(store.witnesses for store in self.stores))

    def problems(self) -> list[Problem]:
        """What could not be read or does not fit, each once."""
        own = [problem for store in self.stores for problem in store.problems]
        everywhere = self.survey.problems if self.survey else ()
        failed = [Problem("reading the names again", self.failure)] if self.failure else []
        return list(dict.fromkeys((*failed, *everywhere, *own)))

    def unreadable(self) -> int:
        """Entries that are missing from the figures."""
        return sum(result.usage.unreadable for result in self._figures.results.values())

    def sections(self) -> list[Section]:
        """The page about what is amiss."""
        results = self._figures.results.values()
        paths = [path for result in results for path in result.unreadable]
        unnamed = self.unreadable() - len(paths)
        return problem_sections(self.witnesses(), self.problems(), paths, unnamed)

    def place_at(self, store: Store, units: tuple[bytes, ...]) -> bytes:
        """Which of a data root's directories a row lies in, by the first of its units."""
        places = store.root.places
        inside = (place for place in places for unit in units if within(unit, place))
        return next(inside, places[0])

    def store_at(self, path: bytes) -> Store | None:
        """The data root that ``path`` lies in, else the first one."""
        inside = (
            store
            for store in self.stores
            if any(within(path, place) for place in store.root.places)
        )
        return next(inside, self.stores[0] if self.stores else None)
