"""Tab 2: the models that are here and those that can be had."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, TabPane

from device.client import Model, Models, PullProgress, size, state
from tui.glyphs import Glyphs
from tui.messages import PullRequested, RemoveRequested
from tui.screens.confirm import ConfirmScreen
from tui.widgets.list_table import ListTable
from tui.widgets.pull_bar import PullBar


class ModelsTab(TabPane):
    """One table of both, the description of the chosen one, and the pulls that run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pull", "pull"),
        Binding("d", "remove", "remove"),
    ]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__("2 Models", id="models")
        self._glyphs = glyphs
        self._models = Models()
        self._bars: dict[str, PullBar] = {}

    def compose(self) -> ComposeResult:
        """Lay out table, description and pulls."""
        table = ListTable(("Model", "Size", "Licence", "State"), id="model-table")
        table.add_class("box")
        table.border_title = "Models"
        yield table
        yield Static(id="description", markup=False)
        yield Vertical(id="pulls")

    def show(self, models: Models) -> None:
        """Draw the store and the catalogue."""
        self._models = models
        here = [(model.name, self._row(model)) for model in models.models]
        absent = [
            (
                entry.name,
                (
                    Content.styled(entry.name, "$quiet"),
                    Content.styled(size(entry.size_bytes), "$quiet"),
                    Content.styled(entry.licence, "$quiet"),
                    Content.styled("pulling" if entry.name in self._bars else "p pulls it", "$primary"),
                ),
            )
            for entry in models.catalogue
            if not entry.present
        ]
        self.query_one("#model-table", ListTable).show([*here, *absent])
        self._describe()

    def _row(self, model: Model) -> tuple[Content, ...]:
        shown = f"{self._glyphs.linked} {state(model) or 'here'}"
        return (
            Content.styled(model.name, "bold"),
            Content(size(model.size_bytes)),
            Content(model.licence),
            Content.styled(shown, "$error" if model.damaged else "$success"),
        )

    def move_pull(self, name: str, progress: PullProgress, rate: float | None) -> None:
        """A pull went on."""
        if name in self._bars:
            self._bars[name].show(progress, rate)

    def end_pull(self, name: str) -> None:
        """A pull is over."""
        if name in self._bars:
            self._bars.pop(name).remove()
            self.show(self._models)

    def focus_main(self) -> None:
        """Put the keys where they are most wanted."""
        self.query_one("#model-table").focus()

    def on_data_table_row_highlighted(self) -> None:
        """Another row is under the cursor."""
        self._describe()

    def action_pull(self) -> None:
        """Pull the chosen model."""
        name = self._chosen
        if name is None or name in self._bars or any(model.name == name for model in self._models.models):
            return
        self._bars[name] = PullBar(name, self._glyphs)
        self.query_one("#pulls").mount(self._bars[name])
        self.show(self._models)
        self.post_message(PullRequested(name))

    def action_remove(self) -> None:
        """Remove the chosen model, after a question."""
        model = next((model for model in self._models.models if model.name == self._chosen), None)
        if model is None:
            return

        def decided(sure: bool | None) -> None:  # noqa: FBT001  the screen's result
            if sure:
                self.post_message(RemoveRequested(model.name))

        question = f"Remove {model.name} and free {size(model.size_bytes)}?"
        self.app.push_screen(ConfirmScreen(question, yes="Remove"), decided)

    @property
    def _chosen(self) -> str | None:
        return self.query_one("#model-table", ListTable).selected

    def _describe(self) -> None:
        name = self._chosen
        about = [model.description for model in self._models.models if model.name == name]
        about += [entry.description for entry in self._models.catalogue if entry.name == name]
        self.query_one("#description", Static).update(next(filter(None, about), ""))
