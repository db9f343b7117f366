"""A compiled program as the user holds it: run, measure, check, report, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plena.errors import PlenaError
from plena.host.image import Preload
from plena.program.comparison import CheckReport
from plena.program.data import ProgramData, Reference, RunFigures, SourceReferences
from plena.program.rationale import Rationale
from plena.program.state import KeptState, StateView
from plena.program.thresholds import Thresholds
from plena.statistics.traffic import Traffic, by_class

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from plena.emulator import EmulationResult
    from plena.host.call_inputs import CallSignature
    from plena.optimizing.size_curve import SizeCurve
    from plena.statistics.timeline import Timeline


class Program(ProgramData):
    """A program for one target; its attributes are those of `ProgramData`, and here they may be set."""

    decisions: tuple[str, ...]
    rationale: Rationale | None
    thresholds: Thresholds
    signature: CallSignature | None
    source: SourceReferences | None
    machine_reference: Reference | None
    quantized_reference: Reference | None
    float_reference: Reference | None
    last_run: RunFigures | None
    last_check: CheckReport | None
    has_saved_inputs: bool

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @staticmethod
    def of(data: ProgramData) -> Program:
        """The handle of a program."""
        program = Program.__new__(Program)
        program.__dict__.update(data.__dict__)
        return program

    @property
    def state(self) -> StateView:
        """The states by the name of their buffer, as tensors that can be read and assigned; docs/state.md.

        Assigning a dictionary writes the states that it names, all of them or none.

        Raises:
            PlenaError: no such state, a tensor of another shape, NaN or infinity; nothing has changed then.
        """
        return StateView(KeptState((), (), {}, self.target) if self.kept is None else self.kept)

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        self.state.assign(values)

    def reset(self) -> None:
        """Start over: states hold what the buffers of the module held when it was compiled."""
        if self.kept is not None:
            self.kept.reset()

    def run(self, *inputs: Any, progress: bool | None = None, **kwargs: Any) -> Any:
        """Run on the emulator. The next run goes on with the states that this one leaves (`state`, `reset`).

        Args:
            inputs, kwargs: as the module takes them, or the tensors in the order of ``self.inputs``; keywords may also
                be the names in ``self.inputs``. Shapes and kinds of dtype must be those of ``self.inputs``.
            progress: whether to show it; None means when it takes long on a terminal.

        Returns:
            the output tensor, or a tuple of several results, None and numbers of the model among them.

        Raises:
            PlenaError: inputs that do not fit.
            EmulatorError: the program aborts.
        """
        return self.results(self.emulate(*inputs, progress=progress, **kwargs))

    def run_saved(self, progress: bool | None = None) -> Any:
        """Run a loaded program on the inputs it was saved with; otherwise as ``run``.

        Raises:
            PlenaError: it was saved without inputs, or others were run since.
        """
        if not self.has_saved_inputs:
            raise PlenaError("the program was saved without inputs", "run", "Give the inputs.")
        result = self.execute(self.image, progress)
        return self.results(self._kept_of(result, self.saved_counters))

    def emulate(self, *inputs: Any, progress: bool | None = None, **kwargs: Any) -> EmulationResult:
        """Run on the emulator and give all its memories and counters; arguments and errors as of ``run``."""
        tensors = self.input_tensors(inputs, kwargs)
        self.require_inputs(tensors)
        counters = self.counters_after(tensors)
        return self._kept_of(self._emulate(tensors, progress), counters)

    def _kept_of(self, result: EmulationResult, counters: Mapping[str, Any]) -> EmulationResult:
        """Keeps the states of a run that came to its end."""
        if self.kept is not None:
            self.kept.read(result.hbm, result.hbm_written)
            self.kept.count(counters)
        return result

    def _examined(self, *inputs: Any) -> Any:
        """As `run`, but states stay as they were."""
        self.require_inputs(inputs)
        return self.results(self._emulate(inputs, None))

    def _emulate(self, inputs: Sequence[Any], progress: bool | None) -> EmulationResult:
        """Run on the tensors of a call, in the order of ``self.inputs``."""
        self.has_saved_inputs = False
        preload = replace(self.image, hbm=self.memory.ready(self.image.hbm, self.kept), is_memory=True)
        self.stage_inputs(inputs, preload)
        result = self.execute(preload, progress)
        self.memory.ran(result.hbm_written)
        return result

    def execute(self, preload: Preload, progress: bool | None = None) -> EmulationResult:
        """Run on memories as they are, which change, and on the states; `last_run` then has its counters.

        Raises:
            EmulatorError: the program aborts.
        """
        result = super().execute(preload, progress)
        executed_at = result.executed_at  # The result has all memories: nothing here keeps it.
        self.last_run = RunFigures(
            result.cycles,
            result.dma_cycles,
            result.executed,
            (result.executed_at * result.cycles_at).astype(np.float64),
            result.dma_cycles_at,
            Traffic(lambda: by_class(self.transfers, executed_at)),
        )
        return result

    def trace(self) -> dict[str, Any]:
        """The last run as a Perfetto / Chrome trace document, by module and kernel step.

        Raises:
            PlenaError: it has not been run, or nothing says where its instructions come from.
        """
        from plena.statistics.trace import trace_of

        if self.last_run is None:
            raise PlenaError("there is no run to trace", hint="Call run() first.")
        if not self.provenance:
            raise PlenaError(
                "the program does not say where its instructions come from", hint="Compile it again."
            )
        return trace_of(self.provenance, self.last_run.cycles_at, self.last_run.dma_cycles_at)

    def timeline(self, timing: str | None = None) -> Timeline:
        """Engines over time, what waits for what, by module; printed it is a table, `trace()` of it for Perfetto.

        Args:
            timing: a profile in which transfers run beside other instructions; by default the program's own if it is
                one, else the first that counts the program.

        Raises:
            PlenaError: no such profile, or it has no latency for the program.
        """
        from plena.assembly import decode
        from plena.statistics.timeline import timeline_of

        return timeline_of(decode(self.words), self.target, timing, self.provenance or None, own=self.timing)

    def check(
        self,
        *inputs: Any,
        module: torch.nn.Module | ExportedProgram | None = None,
        quiet: bool = False,
        **kwargs: Any,
    ) -> CheckReport:
        """Run and compare with the references, printing a table; docs/check.md says what the verdict means.

        All of them start from the states as they are, which stay so.

        Args:
            inputs, kwargs: as of ``run``; none means the example inputs.
            module: the user's module, for a program that was loaded from a folder.
            quiet: do not print, and leave out what the formats of each class of tensors cost.

        Raises:
            PlenaError: inputs that do not fit, or no reference at all.
            EmulatorError: the program aborts.
        """
        from plena.checking.reference import check_program
        from plena.host.call_inputs import CallSignature

        signature = self.signature
        if not inputs and not kwargs and self.inputs and self.example_inputs is not None:
            tensors = list(self.example_inputs)
        else:
            if signature is None and module is not None:
                signature = CallSignature.of(inputs, kwargs, module)
            tensors = self.input_tensors(inputs, kwargs, signature)
        report = self.last_check = check_program(
            self, self._examined, tensors, module, signature, by_class=not quiet
        )
        if not quiet:
            print(report)
        return report

    def report(self, path: str | Path, *, curve: SizeCurve | None = None) -> None:
        """Write one self-contained HTML page: modules, loops, memory, choices, and the last check if there was one.

        Args:
            path: the page; it appears whole or not at all.
            curve: of ``plena.size_curve``; by default what the compiler predicted and tried.

        Raises:
            PlenaError: the page cannot be written.
        """
        from plena.report import write_report
        from plena.report.reading import contents_of_program

        contents = contents_of_program(self)
        contents.curve = curve
        write_report(contents, Path(path))

    def save(
        self, directory: str | Path, *, inputs: Sequence[Any] | None = None, share: str | Path | None = None
    ) -> None:
        """Write the program folder that the public emulator loads (plena_isa.md section 6.5) with its manifest.

        Args:
            directory: made if absent; files of an older program in it are replaced.
            inputs: tensors to put into the memory image; None means the example inputs, or none where a state is
                full, so that it takes no more.
            share: another program folder whose image holds the same weights: they are not stored again.

        Raises:
            PlenaError: the folder cannot be written; it then holds no half-written file.
        """
        from plena.program.folder import save_program

        save_program(self, Path(directory), inputs, None if share is None else Path(share))

    @staticmethod
    def load(directory: str | Path) -> Program:
        """Read a program folder.

        Raises:
            PlenaError: which file of it is missing, truncated, changed or does not fit the others.
        """
        from plena.program.folder import load_program

        return Program.of(load_program(Path(directory)))
