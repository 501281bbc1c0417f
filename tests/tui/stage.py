"""The widgets on a stage of their own, without the explorer behind them."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget

from app.model import Headroom
from styles import sheet, themes
from widgets.details_pane import DetailsPane
from widgets.headroom_bar import HeadroomBar
from widgets.status_line import StatusLine
from widgets.usage_tree import RowSource, UsageTree

GIB = 1 << 30
FULL = Headroom(b"/", "ext4", "/dev/vda1", 412 * GIB, 88 * GIB, 30_100_000, 2_700_000, 32_800_000)


class Stage(App[None]):
    """The widgets as the explorer arranges them; it notes what they report."""

    CSS = sheet("explore")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012

    def __init__(self, source: RowSource, ascii: bool = False) -> None:
        super().__init__()
        self.source = source
        self.ascii = ascii
        self.heard: list[tuple[str, object]] = []

    def compose(self) -> ComposeResult:
        yield HeadroomBar(ascii=self.ascii)
        with Horizontal(id="explore"):
            yield UsageTree(ascii=self.ascii)
            yield DetailsPane()
        yield StatusLine(ascii=self.ascii)

    def on_mount(self) -> None:
        themes.register(self)
        self.theme = themes.CALM.name
        self.tree_.show(self.source)
        self.tree_.focus()

    @property
    def tree_(self) -> UsageTree:
        return self.query_one(UsageTree)

    def on_usage_tree_highlighted(self, message: UsageTree.Highlighted) -> None:
        self.heard.append(("highlighted", message.key))

    def on_usage_tree_toggled(self, message: UsageTree.Toggled) -> None:
        self.heard.append(("toggled", message.key))

    def on_usage_tree_left(self, message: UsageTree.Left) -> None:
        self.heard.append(("left", message.key))

    def on_usage_tree_heading_clicked(self, message: UsageTree.HeadingClicked) -> None:
        self.heard.append(("heading", message.column))


def screen_of(widget: Widget) -> list[str]:
    return [widget.render_line(y).text for y in range(widget.size.height)]
