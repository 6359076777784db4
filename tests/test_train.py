"""The training loop: what it keeps, how it resumes, what it refuses, and that two processes are one with a doubled batch."""

import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import pickle
import random
import re
import shutil
import signal
import socket
import sys
import time
import types
import warnings
from collections import namedtuple
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from facelib import train
from facelib.data import FaceData, Split
from facelib.methods.glcic import GLCIC
from facelib.train import Diverged, Feed, Method, fit, frozen, load_checkpoint

# Spectral normalisation and batch norm both keep state that is no parameter; a short run passes all three phases.
SHORT = replace(GLCIC.presets["smoke"], width=4, dilations=(2,), d_width=4, batch_size=4, steps=(5, 3, 6), spectral_norm=True)
PROCESS = multiprocessing.get_context("forkserver")     # imports torch once, then every child starts at once
PROCESS.set_forkserver_preload(["accelerate", "facelib.methods.glcic"])


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def noise(n=24, size=32, seed=0):
    rng = np.random.default_rng(seed)
    attributes = rng.integers(0, 2, (n, 40), dtype=np.int8)
    attributes[:, 0] = -1                               # of all 40, CelebA's other data sets know only some
    faces = Split(rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8), attributes, np.arange(n))
    return FaceData("noise", faces, faces.take(slice(0, 4)), faces.take(slice(0, 4)))


@dataclass(frozen=True)
class TinyConfig:
    batch_size: int = 4
    ema_decay: float = 0.9
    channels: int = 4
    steps: tuple = (6, 6)


class Tiny(Method):
    """The smallest method that has everything: two phases, a scalar, an averaged network, draws."""

    Config, presets, ema = TinyConfig, {"smoke": TinyConfig()}, ("G",)

    def build(self, cfg):
        self.G = nn.Sequential(nn.Conv2d(3, cfg.channels, 3, padding=1), nn.BatchNorm2d(cfg.channels), nn.ReLU(),
                               nn.Conv2d(cfg.channels, 3, 3, padding=1))
        self.opt = torch.optim.Adam(self.G.parameters(), 1e-2)
        self.scalars["seen"] = 0

    def phases(self):
        return [("first", self.cfg.steps[0]), ("second", self.cfg.steps[1])]

    def step(self, batch, phase):
        image = batch["image"]
        noisy = image + 0.1 * self.draw(len(image), lambda n, g: torch.randn(n, *image.shape[1:], generator=g)).to(image)
        with self.autocast():
            loss = (self.G(noisy).float() - image).square().mean()
        self.update(loss, self.opt)
        self.scalars["seen"] += len(image)
        return {"rec": loss, **({"late": loss * 2} if phase == "second" else {})}


def tensors(value, name=""):
    """Every tensor and number of a nested state, by its path."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in tensors(part, f"{name}/{key}").items()}
    return {name: value}


def assert_same(a, b):
    a, b = tensors(a), tensors(b)
    assert a.keys() == b.keys()
    different = [k for k in a if not (torch.equal(a[k], b[k]) if torch.is_tensor(a[k]) else a[k] == b[k])]
    assert not different, f"not bit-identical: {different}"


def log(out):
    """The run log without the speeds, which no seed repeats."""
    lines = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def contents(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


# -- the folder and the log --------------------------------------------------------------------------------------------

def test_a_run_folder_holds_config_log_samples_and_checkpoint(tmp_path):
    method = fit(Tiny(), noise(), tmp_path / "run", save_every=5, log_every=4, quiet=True, precision="no")
    assert not method.training and not method.G.training and method.scalars["seen"] == 48
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.json", "last.pt", "log.jsonl", "samples"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config == {"method": "Tiny", "config": {"batch_size": 4, "ema_decay": 0.9, "channels": 4, "steps": [6, 6]},
                      "data": "noise", "size": [32, 32], "faces": 24, "seed": 0, "batch_size": 4}
    records = log(tmp_path / "run")
    assert [r["step"] for r in records] == [4, 5, 8, 10, 12] and [r["images"] for r in records] == [16, 20, 32, 40, 48]
    assert [r["phase"] for r in records] == ["first"] * 2 + ["second"] * 3
    assert all(np.isfinite(r["rec"]) for r in records) and "late" in records[-1] and records[-1]["seen"] == 48
    assert [p.name for p in sorted((tmp_path / "run" / "samples").iterdir())] == ["0000005.png", "0000010.png", "0000012.png"]
    state = load_checkpoint(tmp_path / "run" / "last.pt")
    assert state["step"] == 12 and state["config"] == config and state["rng"] == {"seed": 0}
    assert set(state["opts"]) == {"opt"} and state["scalars"] == {"seen": 48}
    assert {k.split(".")[0] for k in state["nets"]} == {"G"} and {k.split(".")[0] for k in state["ema"]} == {"G_ema"}


def test_saving_and_logging_do_not_change_what_is_learnt(tmp_path):
    a = fit(Tiny(), noise(), tmp_path / "a", save_every=1, log_every=1, quiet=True, precision="no")
    b = fit(Tiny(), noise(), tmp_path / "b", save_every=99, log_every=99, quiet=True, precision="no")
    assert_same(a.state(), b.state())
    c = fit(Tiny(), noise(), tmp_path / "c", seed=1, quiet=True, precision="no")
    assert not torch.equal(a.G[0].weight, c.G[0].weight)


def test_the_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    a, b, c = Tiny(), Tiny(), Tiny(seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert_same(a.state(), b.state())
    assert not torch.equal(a.G[0].weight, c.G[0].weight)


def test_steps_stops_early_and_going_on_equals_one_run(tmp_path):
    whole = fit(Tiny(), noise(), tmp_path / "whole", quiet=True, precision="no")
    for steps in (2, 7, 7, None):                       # a third time with nothing left to do, then to the end
        parts = fit(Tiny(), noise(), tmp_path / "parts", steps=steps, log_every=3, quiet=True, precision="no")
    assert_same(whole.state(), parts.state())
    assert [r["step"] for r in log(tmp_path / "parts")] == [2, 3, 6, 7, 9, 12]


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    fit(Tiny(), noise(), tmp_path, steps=4, log_every=1, quiet=True, precision="no")
    with open(tmp_path / "log.jsonl", "a") as file:     # as a run leaves it that was killed two steps after its checkpoint
        file.write('{"step": 5, "rec": 1.0}\n{"step": 6, "re')
    fit(Tiny(), noise(), tmp_path, steps=6, log_every=1, quiet=True, precision="no")
    assert [r["step"] for r in log(tmp_path)] == [1, 2, 3, 4, 5, 6] and "phase" in log(tmp_path)[4]


def test_tensorboard_on_request(tmp_path):
    pytest.importorskip("tensorboard")
    fit(Tiny(), noise(), tmp_path, steps=2, log_every=1, tensorboard=True, quiet=True, precision="no")
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_progress_shows_phase_losses_and_speed(tmp_path, capsys):
    fit(Tiny(), noise(), tmp_path, steps=3, log_every=1, precision="no")
    shown = capsys.readouterr().err
    assert re.search(r"first rec=\d", shown) and "image/s" in shown


def test_without_accelerate_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r'accelerate is needed here .* pip install "facelib\[train\]"'):
        fit(Tiny(), noise(), tmp_path / "run", quiet=True)


def test_half_precision_keeps_weights_and_losses_in_float32(tmp_path):
    method = fit(Tiny(), noise(), tmp_path, steps=2, quiet=True, precision="bf16")
    seen = []
    method.G[0].register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    losses = method.step(Feed(noise().train, 4, 0, torch.device("cpu"))(0, method.generator), "first")
    assert seen == [torch.bfloat16] and losses["rec"].dtype == method.G[0].weight.dtype == torch.float32


# -- refused before anything is touched --------------------------------------------------------------------------------

def test_a_folder_with_another_config_is_refused_and_untouched(tmp_path):
    run = tmp_path / "run"
    fit(Tiny(), noise(), run, steps=2, quiet=True, precision="no")
    before = contents(run)
    for method, faces, options, said in [
        (Tiny(TinyConfig(channels=8)), noise(), {}, "config.channels is 4 there and 8 here"),
        (Tiny(), noise(), {"seed": 5}, "seed is 0 there and 5 here"),
        (Tiny(), noise(), {"batch_size": 2}, "batch_size is 4 there and 2 here"),
        (Tiny(), noise(size=16), {}, r"size is \[32, 32\] there and \[16, 16\] here"),
        (Tiny(), noise(n=30), {}, "faces is 24 there and 30 here"),
        (GLCIC(SHORT), noise(), {}, "method is 'Tiny' there and 'GLCIC' here|config.alpha is None there"),
    ]:
        with pytest.raises(FileExistsError, match=f"holds another run \\(.*{said}.*choose another folder, or delete it"):
            fit(method, faces, run, quiet=True, precision="no", **options)
        assert contents(run) == before


def test_a_folder_with_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"is not empty and holds no run \(no config.json\); choose another folder"):
        fit(Tiny(), noise(), tmp_path, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_too_little_disk_fails_before_training(tmp_path, monkeypatch):
    big = TinyConfig(channels=20_000)                   # four megabytes of weights, so that a file's frame weighs nothing
    method, usage = Tiny(big), namedtuple("usage", "total used free")
    torch.save(method.state() | {"opts": {"m": method.G.state_dict(), "v": method.G.state_dict()}}, tmp_path / "like.pt")
    room = 2 * (tmp_path / "like.pt").stat().st_size    # the new checkpoint is written beside the old one
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, int(room * 0.98)))
    monkeypatch.setattr(Tiny, "step", lambda *_: pytest.fail("trained without room for a checkpoint"))
    with pytest.raises(RuntimeError, match=r"has \d+ MiB of disk left and the checkpoints of this run need \d+ MiB; free some"):
        fit(method, noise(), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "config.json").exists()
    monkeypatch.undo()
    fit(Tiny(), noise(), tmp_path / "run", steps=1, quiet=True)        # once there is room, the same folder does


def test_a_full_disk_while_saving_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    fit(Tiny(), noise(), tmp_path, steps=2, quiet=True, precision="no")
    before = (tmp_path / "last.pt").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        train.write(tmp_path / "last.pt", b"half a check")
    assert (tmp_path / "last.pt").read_bytes() == before and not list(tmp_path.glob("*.tmp*"))


def test_too_few_faces_for_a_batch(tmp_path):
    with pytest.raises(ValueError, match="has 24 faces, fewer than one batch of 32; use a smaller batch_size or more faces"):
        fit(Tiny(), noise(), tmp_path / "run", batch_size=32, quiet=True)
    assert not (tmp_path / "run").exists()              # so that the next try may use the same folder


# -- divergence, memory ------------------------------------------------------------------------------------------------

def spoil(method, at, how):
    """Let `method` go wrong in its step number `at` (counted from 1), by `how(losses)`."""
    inner, done = method.step, []

    def step(batch, phase):
        done.append(phase)
        losses = inner(batch, phase)
        return how(losses) if len(done) == at else losses
    method.step = step
    return method


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_divergence_names_step_and_loss_and_keeps_the_last_good_checkpoint(tmp_path, value):
    method = spoil(Tiny(), 9, lambda losses: losses | {"late": losses["late"] * float(value)})
    said = rf"late became {value} at step 9 \(phase second\); the last good checkpoint in .* is kept: go on from it in a new"
    with pytest.raises(Diverged, match=said):
        fit(method, noise(), tmp_path, save_every=5, log_every=4, quiet=True, precision="no")
    state = load_checkpoint(tmp_path / "last.pt")
    assert state["step"] == 5 and log(tmp_path)[-1]["step"] == 8
    # Once the cause is gone, the run goes on from there and is the run that never failed.
    assert_same(fit(Tiny(), noise(), tmp_path, quiet=True, precision="no").state(),
                fit(Tiny(), noise(), tmp_path / "fresh", quiet=True, precision="no").state())


def test_divergence_before_the_first_checkpoint(tmp_path):
    with pytest.raises(Diverged, match="rec became nan at step 1 "):
        fit(spoil(Tiny(), 1, lambda losses: {"rec": losses["rec"] * np.nan}), noise(), tmp_path, steps=3, quiet=True)
    assert not (tmp_path / "last.pt").exists()


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """A finite loss can have an infinite gradient; the losses tell only one step later."""
    method = Tiny()

    def break_weights(losses):
        method.G[0].weight.data[0] = float("nan")
        return losses
    with pytest.raises(Diverged, match="the weights G.0.weight are not finite after step 4; the last good checkpoint in"):
        fit(spoil(method, 4, break_weights), noise(), tmp_path, save_every=2, quiet=True, precision="no")
    state = load_checkpoint(tmp_path / "last.pt")
    assert state["step"] == 2 and all(v.isfinite().all() for v in state["nets"].values())


def test_out_of_memory_says_which_batch_size_to_try(tmp_path):
    def run_out(losses):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with pytest.raises(RuntimeError, match="does not hold a batch of 4: try batch_size=2, in a new run folder") as caught:
        fit(spoil(Tiny(), 4, run_out), noise(), tmp_path, save_every=2, quiet=True, precision="no")
    assert isinstance(caught.value.__cause__, torch.cuda.OutOfMemoryError)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 2


# -- checkpoints that are not to be trusted ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    os.environ["ACCELERATE_USE_CPU"] = "true"
    folder = tmp_path_factory.mktemp("run")
    fit(Tiny(), noise(), folder, steps=2, quiet=True, precision="no")
    return folder / "last.pt"


class Code:
    """What pickle runs when it is loaded: here it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickled_code_is_refused_and_not_run(tmp_path):
    torch.save({"step": 1, "nets": Code(tmp_path / "ran")}, tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    for name in ("zip.pt", "bare.pt"):
        with pytest.raises(ValueError, match=r"holds more than tensors and numbers \(pickled code, perhaps\) or is damaged, "
                                             "and was not loaded; use a checkpoint written by facelib"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(checkpoint, tmp_path, share):
    data = checkpoint.read_bytes()
    (tmp_path / "last.pt").write_bytes(data[:int(len(data) * share)])
    with pytest.raises(ValueError, match=r"last.pt (cannot be read: it is cut off or no checkpoint .*; delete it to start this "
                                         r"run afresh|holds more than tensors .* or is damaged, and was not loaded)"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("value", [{"model": torch.zeros(2), "epoch": 3}, [1, 2], torch.zeros(3), {"step": 1}])
def test_a_foreign_checkpoint_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="is not a checkpoint of facelib; use a "
                                         "last.pt written by facelib.fit"):
        load_checkpoint(tmp_path / "last.pt")


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_a_damaged_checkpoint_is_read_or_refused_but_never_crashes(checkpoint, tmp_path_factory, data):
    content = bytearray(checkpoint.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(content[:data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        load_checkpoint(path)
    except ValueError as error:
        assert str(path) in str(error)


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(st.binary(max_size=200))
def test_any_other_file_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "other.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="other.pt"):
        load_checkpoint(path)


def test_fit_refuses_a_bad_checkpoint_and_leaves_it(checkpoint, tmp_path):
    shutil.copytree(checkpoint.parent, tmp_path / "cut")
    (tmp_path / "cut" / "last.pt").write_bytes(checkpoint.read_bytes()[:-100])
    before = contents(tmp_path / "cut")
    with pytest.raises(ValueError, match="cannot be read: it is cut off"):
        fit(Tiny(), noise(), tmp_path / "cut", quiet=True)
    assert contents(tmp_path / "cut") == before


def test_fit_refuses_the_checkpoint_of_another_run(checkpoint, tmp_path):
    fit(Tiny(TinyConfig(channels=6)), noise(), tmp_path, steps=1, quiet=True)
    shutil.copy(checkpoint, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"last.pt belongs to another run \(config.channels is 4 there and 6 here\); put"):
        fit(Tiny(TinyConfig(channels=6)), noise(), tmp_path, quiet=True)


# -- killed, interrupted -----------------------------------------------------------------------------------------------

def run_short(out, threads, die_in_step=None, die_in_write=None, slow=0.0):
    """In a child process: train SHORT, and kill itself in a step, or in the middle of writing a checkpoint."""
    torch.set_num_threads(threads)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    method, fsync, done = GLCIC(SHORT), os.fsync, []

    def dying(losses):
        os.kill(os.getpid(), signal.SIGKILL)

    def sync(file):
        done.append(os.readlink(f"/proc/self/fd/{file}") if os.path.exists("/proc/self/fd") else "last.pt")
        if len([name for name in done if "last.pt" in name]) == die_in_write:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(file)

    def slowly(batch, phase):
        time.sleep(slow)
        return inner(batch, phase)
    os.fsync = sync
    if die_in_step is not None:
        spoil(method, die_in_step, dying)
    inner = method.step
    method.step = slowly
    try:
        fit(method, noise(), out, save_every=3, log_every=1, quiet=True, precision="no")
    except KeyboardInterrupt as error:
        Path(out, "said.txt").write_text(str(error))
        raise SystemExit(130) from error


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    os.environ["ACCELERATE_USE_CPU"] = "true"
    out = tmp_path_factory.mktemp("uninterrupted")
    return fit(GLCIC(SHORT), noise(), out, save_every=3, log_every=1, quiet=True, precision="no").state(), log(out)


def start(target, *args, **options):
    process = PROCESS.Process(target=target, args=args, kwargs=options)
    process.start()
    return process


def test_killed_at_a_random_step_and_while_saving_it_ends_bit_identical(tmp_path, uninterrupted):
    run, at = tmp_path / "run", random.randint(1, 13)
    first = start(run_short, run, torch.get_num_threads(), die_in_step=at)
    first.join(300)
    assert first.exitcode == -signal.SIGKILL, f"should have been killed in step {at}"
    reached = load_checkpoint(run / "last.pt")["step"] if (run / "last.pt").exists() else 0
    assert reached == (at - 1) // 3 * 3

    second = start(run_short, run, torch.get_num_threads(), die_in_write=1)
    second.join(300)
    assert second.exitcode == -signal.SIGKILL, f"killed in step {at}, should have been killed again while saving"
    assert list(run.glob("last.pt.tmp*"))                              # half made, beside the good one
    assert (load_checkpoint(run / "last.pt")["step"] if (run / "last.pt").exists() else 0) == reached

    resumed = fit(GLCIC(SHORT), noise(), run, save_every=3, log_every=1, quiet=True, precision="no")
    assert_same(resumed.state(), uninterrupted[0])
    assert log(run) == uninterrupted[1], f"killed in step {at}"
    assert not list(run.glob("*.tmp*"))


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path, uninterrupted):
    process = start(run_short, tmp_path, torch.get_num_threads(), slow=0.05)
    deadline = time.monotonic() + 300
    while not (tmp_path / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join(300)
    assert process.exitcode == 130
    said = (tmp_path / "said.txt").read_text()
    step = load_checkpoint(tmp_path / "last.pt")["step"]
    assert said == (f"stopped after step {step}, which is saved: run the same command again to go on from there, or delete "
                    f"{tmp_path} to start afresh")
    resumed = fit(GLCIC(SHORT), noise(), tmp_path, save_every=3, log_every=1, quiet=True, precision="no")
    assert_same(resumed.state(), uninterrupted[0])


def test_ctrl_c_twice_does_not_wait_and_the_handler_is_given_back():
    before = signal.getsignal(signal.SIGINT)
    with train.Interrupt() as interrupt:
        assert not interrupt.wanted
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert interrupt.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) == before


# -- several processes -------------------------------------------------------------------------------------------------

# Adadelta, because Adam makes a step of full size of a gradient that is nothing but rounding.
PLAIN = replace(SHORT, batch_norm=False, spectral_norm=False, steps=(2, 1, 2), optimiser="adadelta", lr=1.0, d_lr=1.0)
NORMED = replace(PLAIN, batch_norm=True)


class Recorded(GLCIC):
    """GLCIC that keeps the gradients of every update, averaged over processes as they are when the optimiser steps."""

    def update(self, loss, *optimisers):
        super().update(loss, *optimisers)
        owned = [p for o in optimisers for group in o.param_groups for p in group["params"]]
        self.__dict__.setdefault("gradients", []).append(torch.cat([p.grad.flatten().clone() for p in owned]))


def run_one_of_two(rank, port, out):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                      ACCELERATE_USE_CPU="true")
    torch.set_num_threads(1)
    for name, cfg in (("plain", PLAIN), ("normed", NORMED)):
        torch.manual_seed(rank)                         # nothing may depend on the random state that a process starts with
        method = fit(Recorded(cfg), noise(), Path(out, name), save_every=2, quiet=True, precision="no")
        torch.save([method.state()["nets"], method.gradients], Path(out, f"{name}{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """name -> (the first process's (weights, gradients), the second's, one process's with the doubled batch)."""
    os.environ["ACCELERATE_USE_CPU"] = "true"
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [start(run_one_of_two, rank, port, out) for rank in (0, 1)]
    for process in both:
        process.join(400)
    assert [process.exitcode for process in both] == [0, 0]
    found = {}
    for name, cfg in (("plain", PLAIN), ("normed", NORMED)):
        one = fit(Recorded(cfg), noise(), out / f"{name}-one", batch_size=8, quiet=True, precision="no")
        pair = [torch.load(out / f"{name}{rank}.pt", weights_only=True) for rank in (0, 1)]
        found[name] = (*pair, (one.state()["nets"], one.gradients))
    found["folder"] = out
    return found


def far(a, b):
    """The largest difference, as a share of the largest value."""
    return float((a - b).abs().max() / b.abs().max())


def test_two_processes_give_the_gradients_of_one_with_the_doubled_batch(two_processes):
    """In every phase and for both players, though each process's holes are of other sizes."""
    first, second, one = two_processes["plain"]
    assert len(first[1]) == len(one[1]) == 2 + 1 + 2 * 2
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))
    assert far(first[1][0], one[1][0]) < 1e-5           # the first update, from equal weights: only rounding differs
    assert max(far(a, b) for a, b in zip(first[1], one[1], strict=True)) < 1e-3


def test_two_processes_end_with_the_weights_of_one(two_processes):
    first, second, one = two_processes["plain"]
    assert_same(first[0], second[0])
    start = GLCIC(PLAIN).state()["nets"]
    moved = [far(first[0][k] - start[k], one[0][k] - start[k]) for k in one[0]]
    assert max(moved) < 1e-3, max(moved)
    config = json.loads((two_processes["folder"] / "plain" / "config.json").read_text())
    assert config["batch_size"] == 8 and log(two_processes["folder"] / "plain")[-1]["images"] == 40


def test_batch_norm_sees_its_own_process_only(two_processes):
    """The exception that `fit` names: normalised by their own images, two processes learn something near, not the same.

    The weights stay equal in both, since the gradients are averaged; the running statistics do not, and those of the
    first process are the ones that are saved.
    """
    first, second, one = two_processes["normed"]
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))
    assert far(first[1][0], one[1][0]) > 1e-3
    running = [k for k in first[0] if "running_mean" in k and k.startswith("G.")]
    assert_same(*({k: v for k, v in nets.items() if "running" not in k} for nets in (first[0], second[0])))
    assert any(not torch.equal(first[0][k], second[0][k]) for k in running)
    saved = load_checkpoint(two_processes["folder"] / "normed" / "last.pt")["nets"]
    assert_same({k: saved[k] for k in running}, {k: first[0][k] for k in running})


def fake_processes(world, rank):
    return types.SimpleNamespace(num_processes=world, process_index=rank)


def test_draws_of_two_processes_are_the_halves_of_one():
    draws = []
    for world, rank, n in ((1, 0, 6), (2, 0, 3), (2, 1, 3)):
        method = Tiny()
        method.accelerator = fake_processes(world, rank)
        method.generator.manual_seed(3)
        draws.append(method.draw(n, lambda n, g: torch.rand(n, 2, generator=g)))
    assert torch.equal(draws[0], torch.cat(draws[1:]))


# -- batches -----------------------------------------------------------------------------------------------------------

def test_batches_of_two_processes_are_the_halves_of_one():
    faces = noise().train
    one, *two = (Feed(faces, n, 7, torch.device("cpu"), rank, world)(5, torch.Generator().manual_seed(2))
                 for n, rank, world in ((8, 0, 1), (4, 0, 2), (4, 1, 2)))
    for key in ("image", "attributes", "identities"):
        assert torch.equal(one[key], torch.cat([part[key] for part in two]))


def test_every_epoch_shows_every_face_once_in_another_order():
    feed = Feed(noise(n=10).train, 4, 0, torch.device("cpu"))
    seen = torch.cat([feed(step, torch.Generator())["identities"] for step in range(10)])
    epochs = seen.view(4, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs) and len({tuple(e.tolist()) for e in epochs}) == 4
    again = Feed(noise(n=10).train, 4, 0, torch.device("cpu"))(7, torch.Generator())["identities"]
    assert torch.equal(seen[28:32], again)              # step 7 is step 7, whatever came before


def test_half_of_the_faces_are_mirrored():
    faces = noise()
    feed, mirrored = Feed(faces.train, 8, 0, torch.device("cpu")), 0
    for step in range(20):
        batch = feed(step, torch.Generator().manual_seed(step))
        true = faces.train.tensor(batch["identities"].numpy())
        flipped = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(batch["image"], true, strict=True)])
        assert all(torch.equal(a, b) for a, b in zip(batch["image"][~flipped], true[~flipped], strict=True))
        mirrored += int(flipped.sum())
    assert 60 < mirrored < 100                          # of 160


def test_memory_mapped_faces_are_read_in_silence(tmp_path):
    np.save(tmp_path / "faces.npy", noise().train.images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = Feed(Split(np.load(tmp_path / "faces.npy", mmap_mode="r")), 4, 0, torch.device("cpu"))(0, torch.Generator())
    assert set(batch) == {"image"} and batch["image"].shape == (4, 3, 32, 32) and batch["image"].abs().max() <= 1


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
def test_seeds_are_mixed_into_one_that_every_generator_takes(numbers):
    seed = train.mix(*numbers)
    assert 0 <= seed < 2**63 and seed == train.mix(*numbers)
    torch.Generator().manual_seed(seed)


# -- what Method gives -------------------------------------------------------------------------------------------------

def test_the_average_moves_towards_the_weights_by_its_decay():
    method = Tiny()
    method.G[0].weight.data.fill_(1.0)
    method.G_ema[0].weight.data.fill_(0.0)
    method.G[1].running_mean.fill_(5.0)
    method.average(step=2)                              # decay (1 + 2) / (10 + 2): young averages forget quickly
    assert torch.allclose(method.G_ema[0].weight, torch.tensor(0.75))
    assert torch.allclose(method.G_ema[1].running_mean, torch.tensor(3.75))         # averaged like the weights they fit
    assert torch.equal(method.G_ema[1].num_batches_tracked, method.G[1].num_batches_tracked)
    method.average(step=10**6)                          # by now the config's 0.9
    assert torch.allclose(method.G_ema[0].weight, torch.tensor(0.75 * 0.9 + 0.1))
    assert not any(p.requires_grad for p in method.G_ema.parameters())


def test_update_starts_from_clear_gradients():
    """A gradient left by the other player's backward must not leak into this one's step."""
    methods = Tiny(), Tiny()
    methods[1].G[0].weight.grad = torch.full_like(methods[1].G[0].weight, 1e3)
    for method in methods:
        method.update(method.G(torch.ones(2, 3, 8, 8)).square().mean(), method.opt)
    assert_same(methods[0].state(), methods[1].state())


def test_frozen_guards_a_network_but_lets_gradients_through():
    a, b, x = nn.Linear(2, 2), nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True)
    b.bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen(a, b):
        assert not any(p.requires_grad for n in (a, b) for p in n.parameters())
        b(a(x)).sum().backward()
        raise KeyError
    assert a.weight.grad is None and x.grad is not None
    assert a.weight.requires_grad and b.weight.requires_grad and not b.bias.requires_grad


def test_evaluating_restores_every_networks_mode():
    method = Tiny().train()
    method.G[1].eval()
    with pytest.raises(KeyError), method.evaluating():
        assert not any(m.training for m in method.modules())
        raise KeyError
    assert method.training and method.G[0].training and not method.G[1].training


def test_state_is_plain_and_restores_to_the_bit():
    method = Tiny()
    for _ in range(2):
        method.update(method.G(torch.randn(2, 3, 8, 8)).square().mean(), method.opt)
    method.scalars["seen"] = 7
    assert all(isinstance(v, torch.Tensor | int | float | bool | str | type(None)) for v in tensors(method.state()).values())
    other = Tiny(seed=3)
    other.restore(method.state())
    assert_same(other.state(), method.state())


def test_fields_of_a_config_can_be_replaced_but_not_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GLCIC.presets["smoke"].width = 3
