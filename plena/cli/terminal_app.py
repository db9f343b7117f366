"""The application behind `plena-gui`; importing it needs the extra `gui`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import ClassVar

from xdsl.interactive import app as interface
from xdsl.interactive.add_arguments_screen import AddArguments
from xdsl.interactive.app import InputApp
from xdsl.interactive.passes import AvailablePass
from xdsl.passes import ModulePass, PassPipeline, get_pass_option_infos
from xdsl.universe import Universe

from plena.universe import PASSES

EXAMPLE = """\
func.func @main(%q: tensor<1x1x64x64xf32>, %k: tensor<1x1x64x64xf32>, %v: tensor<1x1x64x64xf32>)
    -> tensor<1x1x64x64xf32> {
  %0 = aten.scaled_dot_product_attention %q, %k, %v
      : (tensor<1x1x64x64xf32>, tensor<1x1x64x64xf32>, tensor<1x1x64x64xf32>) -> tensor<1x1x64x64xf32>
  func.return %0 : tensor<1x1x64x64xf32>
}
"""
"""What is shown when no file is named: one attention head as it is imported."""


class PlenaApp(InputApp):
    """xDSL's interface with every installed dialect and pass, ours first.

    Args:
        source: file or model that the text comes from, shown in the query.
        text: IR to begin with, by default an example.
        passes: pipeline to begin with, as for `plena-opt -p` without named pipelines.

    Raises:
        ValueError: a pass that does not exist.
    """

    CSS_PATH: ClassVar[str] = str(Path(interface.__file__).with_name("app.tcss"))

    def __init__(self, source: str | None = None, text: str | None = None, passes: str = "") -> None:
        universe = Universe.get_multiverse()
        factories = universe.all_passes
        names = [*sorted(PASSES), *sorted(name for name in factories if name not in PASSES)]
        super().__init__(
            tuple(universe.all_dialects.items()),
            tuple((name, factories[name]()) for name in names),
            source,
            EXAMPLE if text is None else text,
            PassPipeline.parse_spec(factories, passes).passes,
        )

    def compute_available_pass_list(self) -> tuple[AvailablePass, ...]:
        """The passes to choose from: all, or in condensed mode those that change the module; none after an error.

        xDSL's runs the whole pipeline for it every time and ends the application when a pass fails.
        """
        if not self.condense_mode:
            return tuple(AvailablePass(pass_class) for _, pass_class in self.all_passes)
        try:
            return super().compute_available_pass_list()
        except Exception:
            return ()

    def get_query_string(self) -> str:
        """The command line that does the same."""
        return super().get_query_string().replace("xdsl-opt", "plena-opt", 1)

    def get_pass_arguments(
        self, selected_pass_value: type[ModulePass], root_to_child_pass_list: tuple[ModulePass, ...]
    ) -> None:
        """Asks for options. Those without a default that can be written down are left out, they stay as they are."""

        def chosen(result: ModulePass | None) -> None:
            if result is not None:
                self.pass_pipeline = (*self.pass_pipeline, *root_to_child_pass_list, result)

        screen = AddArguments(selected_pass_value)
        screen.argument_text_area.load_text(default_options(selected_pass_value))
        self.push_screen(screen, chosen)


def default_options(pass_class: type[ModulePass]) -> str:
    """The options of a pass with their defaults, as its pipeline text takes them."""
    settable = {f.name for f in fields(pass_class) if f.init}
    return " ".join(
        f"{name.replace('_', '-')}={default}"
        for name, _, default in get_pass_option_infos(pass_class)
        if name.replace("-", "_") in settable and default not in (None, "", "()", "none")
    )
