"""The recorder of a user's own model: which forward pass is recorded, and what counts a step.

The recorder hooks the layers and the model itself. A *training pass* is a forward pass of the model
in training mode with gradients enabled; evaluations are not looked at. Step t is recorded at the
first training pass after t updates, with the parameters before update t, and the probe runs right
before it.
"""

from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import nn

from bnexp.errors import ConfigError, StorageError
from bnexp.files.locks import locked, storage_errors
from bnexp.recording.capture import Capture, Population, Selected, uncompiled
from bnexp.recording.journal import Journal, RecordingPlan
from bnexp.recording.metrics import Number
from bnexp.recording.probe import Probe, probe_is_running
from bnexp.recording.recorded_run import ELSEWHERE, RecordedRun

Counter = Literal["step", "forward"] | torch.optim.Optimizer


class Recorder:
    """Records a model from `__enter__` to `__exit__`; `bnexp.record` makes one.

    Args:
        model: the module as it is called.
        capture: the hooks of its layers.
        probe: runs the probe; `None`: there is none.
        plan: what is recorded, and when.
        run: where it is written.
        arithmetic: what makes the steps, in words.
        counted_by: what counts the steps.
        compiled: whether the model was compiled before.
        resume: whether a run goes on, and where.

    Attributes:
        steps: how many updates have been made.
        folder: the run's.
    """

    def __init__(
        self,
        model: nn.Module,
        capture: Capture,
        probe: Probe | None,
        plan: RecordingPlan,
        run: RecordedRun,
        *,
        arithmetic: str,
        counted_by: Counter,
        compiled: bool,
        resume: bool | int,
    ) -> None:
        self.steps, self.folder = 0, run.folder
        self._model, self._capture, self._probe = model, capture, probe
        self._run, self._counted_by, self._resume = run, counted_by, resume
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._journal = Journal(run, plan, arithmetic, parameters)
        self._compiled, self._attached = compiled, False
        self._in_pass = self._passed = self._repeated = False
        self._rows: dict[Population, list[Selected]] = {}  # of the pass that is made
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            with storage_errors(self.folder):
                # The experiment's folder gets bnexp's mark, and is free for other runs again.
                with locked(self.folder.parents[1], wait=5.0, elsewhere=ELSEWHERE):
                    pass
                stack.enter_context(locked(self.folder, elsewhere=ELSEWHERE))
            stack.callback(self._run.close)
            self.steps = self._journal.resume(self._resume)
            if self._compiled:
                # Code that was compiled without the hooks would never call them, and code that was
                # compiled with them would go on to be interrupted. It is compiled anew.
                stack.callback(torch.compiler.reset)
                torch.compiler.reset()
            stack.callback(self._detach)
            self._attached = True
            self._capture.attach()
            before, after = uncompiled(self._before_pass), uncompiled(self._after_pass)
            stack.callback(self._model.register_forward_pre_hook(before, prepend=True).remove)
            stack.callback(self._model.register_forward_hook(after).remove)
            if isinstance(self._counted_by, torch.optim.Optimizer):
                hook = self._counted_by.register_step_post_hook(lambda *_: self._count())
                stack.callback(hook.remove)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if error is not None:
                self._give_up(error)
                return
            try:
                self._finish()
            except BaseException as problem:
                self._give_up(problem)
                raise
            # Ctrl-C waits for this, and leaves a run that is done.
            self._journal.commit(self.steps, "done")

    def _give_up(self, error: BaseException) -> None:
        # What the user's loop raised is what they are told, whatever the disk says.
        with suppress(StorageError):
            if isinstance(error, Exception):
                told = str(error).strip().splitlines() or [type(error).__name__]
                self._journal.commit(self.steps, "failed", told[0])
            else:  # Ctrl-C, or the end of the interpreter
                self._journal.commit(self.steps, "interrupted")

    def step(
        self,
        train_loss: Number | None = None,
        test_accuracy: Number | None = None,
        test_loss: Number | None = None,
    ) -> None:
        """Say that an update was made; call it once after each `optimizer.step()`.

        Args:
            train_loss: the mean loss of the minibatch, as a number or a tensor on any device.
            test_accuracy: of the network as it is now, from 0 to 1.
            test_loss: of the network as it is now.

        Raises:
            ConfigError: there was no training pass since the last step, or an optimizer counts.
            StorageError: the files cannot be written.
        """
        if self._counted_by != "step":
            raise ConfigError(
                "record: counted_by counts the steps already; pass numbers to recorder.log(...)"
            )
        self.log(train_loss, test_accuracy, test_loss)
        self._count()

    def log(
        self,
        train_loss: Number | None = None,
        test_accuracy: Number | None = None,
        test_loss: Number | None = None,
    ) -> None:
        """Note numbers without counting a step; see `step`."""
        metrics = self._journal.metrics
        if train_loss is not None:
            metrics.add_loss(train_loss)
        for name, number in (("test_accuracy", test_accuracy), ("test_loss", test_loss)):
            if number is not None:
                metrics.measure(name, number)

    def commit(self) -> None:
        """Put all that was recorded on the disk, so that `resume` can continue from here.

        Call it before you save a checkpoint of your own.

        Raises:
            StorageError: the files cannot be written.
        """
        if self._counted_by == "forward" and self._passed:
            self._count()
        self._journal.commit(self.steps)

    def _detach(self) -> None:
        # A model that was compiled inside may call the hooks still.
        self._attached = False
        self._capture.detach()

    def _before_pass(self, module: nn.Module, *_: Any) -> None:
        if probe_is_running() or not self._attached:
            return
        self._in_pass = False
        self._capture.ignore()
        if not (module.training and torch.is_grad_enabled()):
            return
        if self._passed and self._counted_by == "forward":
            self._count()
        if self._passed:
            self._repeated = True  # another pass of the same step, as of gradient accumulation
            return
        self._journal.raise_if_broken()
        self._rows = {}
        if self._probe is not None:
            self._probe.note()
            if self._is_looked_at("probe"):
                self._rows["probe"] = self._probed(self._probe)
        self._in_pass = True
        if self._is_looked_at("minibatch"):
            self._capture.listen("minibatch", self.steps)

    def _is_looked_at(self, population: Population) -> bool:
        # The first pass is looked at in any case: it must fit to the run that goes on.
        return not self._run.is_open or self._journal.is_due(population, self.steps)

    def _after_pass(self, *_: Any) -> None:
        if probe_is_running() or not self._in_pass or not self._attached:
            return
        self._in_pass = False
        if self._is_looked_at("minibatch"):
            self._rows["minibatch"] = self._capture.take()
        # Only now: a pass that fails may be made again, and leaves no rows.
        self._journal.add(self.steps, self._rows, self._capture.seen)
        self._passed = True

    def _probed(self, probe: Probe) -> list[Selected]:
        """What the layers give for the probe."""
        self._capture.listen("probe", self.steps)
        probe.run()
        return self._capture.take()

    def _count(self) -> None:
        self._journal.raise_if_broken()
        if not self._attached:
            raise ConfigError(
                "record: a step was counted outside of the recording; put the training loop into "
                "`with bnexp.record(...) as recorder:`"
            )
        if not self._passed:
            raise ConfigError(
                f"record: step {self.steps} had no forward pass to record. Call the recorded model "
                "itself, in training mode and with gradients, before each step"
            )
        self._passed = False
        self.steps += 1
        self._journal.counted(self.steps)

    def _finish(self) -> None:
        if self._passed and self._counted_by == "forward":
            self._count()
        self._journal.check_counted(self.steps, repeated=self._repeated)
        if not self._run.is_open:
            if self._run.goes_on:
                return  # nothing was added to it
            raise ConfigError(
                "record: nothing was recorded, since the model was never called in training mode "
                "with gradients. Call the module that was given to record, not its parts"
            )
        rows: dict[Population, list[Selected]] = {}
        has_row = self._passed and self._journal.is_due("probe", self.steps)
        if self._probe is not None and not has_row:
            rows["probe"] = self._probed(self._probe)
        self._journal.add(self.steps, rows, self._capture.seen, last=True)
