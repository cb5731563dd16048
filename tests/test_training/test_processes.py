"""What a process inherits, and the signals that wait until it has been started."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bnexp.training.processes import signals_held, worker_environment


def test_the_environment_of_a_worker_is_set_for_its_start_alone(monkeypatch):
    """The number of threads reaches the process, and nothing is left behind."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with worker_environment(threads=3):
        code = "import os; print(os.environ['OMP_NUM_THREADS'])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"3"]
    assert "OMP_NUM_THREADS" not in os.environ


def test_what_runs_of_the_torch_engine_need_is_loaded_before_workers_are_forked():
    """An optimizer imports nothing more; no thread was begun, and CUDA may begin in a worker.

    Python looks for garbage again, but not among what was loaded.
    """
    code = """
import gc, sys, threading
from bnexp.config import Settings, TrainConfig
from bnexp.training.worker import load
load([Settings(train=TrainConfig(engine="torch", device="auto"))])
import torch
before = set(sys.modules)
torch.optim.Adam([torch.zeros(1)])
print(set(sys.modules) - before, torch.cuda.is_initialized(), threading.active_count())
print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode() == "set() False 1\nTrue True\n"


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="the system has no masks")
def test_a_signal_waits_although_another_thread_would_take_it():
    """Its handler runs when the new process has been started, and not before."""
    came, ended = [], threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    before = signal.signal(signal.SIGINT, lambda *_: came.append("handled"))
    try:
        with signals_held():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # in which Python would call the handler
            assert came == []
        assert came == ["handled"]
    finally:
        signal.signal(signal.SIGINT, before)
        ended.set()
        thread.join()
