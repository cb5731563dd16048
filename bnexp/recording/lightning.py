"""`bnexp.record` as a callback of Lightning; needs `pip install 'bnexp[lightning]'`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Callback, LightningModule, Trainer

from bnexp.recording.layers import Layers
from bnexp.recording.record import record

if TYPE_CHECKING:
    from bnexp.recording.recorder import Recorder


class LightningCallback(Callback):
    """Records a module while a Trainer fits it; a step is one of the Trainer's `global_step`.

    Args:
        out: see `bnexp.record`, as for `layers`. `resume` follows from the Trainer.
        layers: those of the part.
        part: the attribute of the LightningModule that `training_step` calls; `None`: itself.
        **options: others of `bnexp.record`; also `accuracy` and `loss`, their names in the logs.
    """

    def __init__(
        self, out: str | Path, layers: Layers, part: str | None = None, **options: Any
    ) -> None:
        self._out, self._layers, self._part, self._options = out, layers, part, options
        names = ("accuracy", "loss")
        self._logged = {f"test_{name}": options.pop(name, None) for name in names}
        self._recorder: Recorder | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model = pl_module if self._part is None else getattr(pl_module, self._part)
        options = {"resume": trainer.global_step or False, **self._options}
        self._recorder = record(model, self._out, self._layers, **options).__enter__()

    def on_train_batch_end(self, trainer: Trainer, _: Any, outputs: Any, *__: Any) -> None:
        if self._recorder is not None and trainer.global_step > self._recorder.steps:
            self._recorder.step(outputs["loss"])

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        found = {key: trainer.callback_metrics.get(name) for key, name in self._logged.items()}
        if self._recorder is not None and not trainer.sanity_checking:
            self._recorder.log(**found)

    def on_save_checkpoint(self, *_: Any) -> None:
        if self._recorder is not None:
            self._recorder.commit()

    def on_train_end(self, *_: Any) -> None:
        self._close(None)

    def on_exception(self, _: Any, __: Any, exception: BaseException) -> None:
        self._close(exception)

    def _close(self, error: BaseException | None) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.__exit__(None if error is None else type(error), error, None)
