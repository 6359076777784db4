"""Training: what every method is (`Method`) and the one loop that trains them all (`fit`).

The randomness of a step is a function of (seed, step) alone, so a run that was stopped continues exactly where it was:
nothing has to be replayed, and the same seed gives the same batches, flips and masks on every device.
"""

import bisect
import contextlib
import copy
import dataclasses
import io
import itertools
import json
import math
import os
import pickle
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from facelib.data.faces import to_float, to_uint8
from facelib.extras import need
from facelib.runs import Interrupt


class Diverged(RuntimeError):
    """A loss became infinite or not a number."""


class Method(nn.Module):
    """Base of every method: `Config`, `presets`, `build`, `phases`, `step`, and its inference verbs.

    Networks and `optimisers` are attributes, and their names are the keys of what `state` gives and `restore` takes. `ema`
    names the networks that are averaged over steps: "G" gets a twin `G_ema`. `ships` names what is published, `borrows` what
    is a frozen copy of another method's, `scalars` holds state that is not a weight. `autocast` and `update` follow device,
    precision and number of processes once `fit` has handed over its `accelerator`. The first weights depend on `seed` alone.
    """

    Config, presets, ema, ships, borrows = None, {}, (), (), {}

    def __init__(self, cfg=None, seed=0):
        super().__init__()
        self.cfg = self.presets["smoke"] if cfg is None else cfg
        self.scalars, self.accelerator, self.generator = {}, None, torch.Generator()
        with torch.random.fork_rng():
            torch.manual_seed(mix(seed, 0))
            self.build(self.cfg)
        for name in self.ema:
            twin = copy.deepcopy(getattr(self, name)).requires_grad_(False)
            setattr(self, f"{name}_ema", twin.eval())

    @property
    def training_size(self):
        """(height, width) in pixels of the faces that it is trained on; None where any size will do."""
        size = getattr(self.cfg, "size", None)
        return (size, size) if isinstance(size, int) else size

    def adopt(self, faces):
        """Take from a data set what the method needs of it (a mean pixel). ValueError for faces of another size."""
        (h, w), size = faces.size, self.training_size or tuple(faces.size)
        if (h, w) != tuple(size):
            size = size[0] if size[0] == size[1] else size
            raise ValueError(f"{type(self).__name__} trains on faces of size {size}, got {faces.name} with {h}x{w} pixels; "
                             f"load them with size={size}, or change cfg.size")

    def preview(self, image):
        """Rows of images (B, 3, H, W) for the sample sheet, made from faces (B, 3, H, W)."""
        return [image]

    @property
    def optimisers(self):
        return {k: v for k, v in vars(self).items() if isinstance(v, torch.optim.Optimizer)}

    def draw(self, n, sampler):
        """`sampler(count, generator)` for this process's n items: all draw the whole batch's, and keep their own part."""
        world, rank = (self.accelerator.num_processes, self.accelerator.process_index) if self.accelerator else (1, 0)
        return sampler(n * world, self.generator)[rank * n:(rank + 1) * n]

    def share(self, count):
        """Weight of this process's loss where it is a mean over `count` items, which differ in number (pixels of holes)."""
        if self.accelerator is None or self.accelerator.num_processes == 1:
            return 1.0
        total = count.detach().clone()
        torch.distributed.all_reduce(total)
        return count * self.accelerator.num_processes / total.clamp(min=1)

    def autocast(self):
        return self.accelerator.autocast() if self.accelerator else contextlib.nullcontext()

    def update(self, loss, *optimisers):
        """One update: clear the gradients, backward, average them over processes, step. Always together.

        Networks are not wrapped for distribution, so the average is taken here, over the parameters of `optimisers`.
        """
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        if self.accelerator is None:
            loss.backward()
        else:
            self.accelerator.backward(loss)
            if self.accelerator.num_processes > 1:
                for parameter in (p for o in optimisers for g in o.param_groups for p in g["params"]):
                    if parameter.grad is not None:
                        torch.distributed.all_reduce(parameter.grad)
                        parameter.grad /= self.accelerator.num_processes
        scaler = getattr(self.accelerator, "scaler", None)                                # float16 only
        for optimiser in optimisers:
            scaler.step(optimiser) if scaler else optimiser.step()
        if scaler:
            scaler.update()

    @torch.no_grad()
    def average(self, step):
        """Move every averaged twin a little towards its network: the decay grows with the step up to `ema_decay`."""
        for name in self.ema:
            decay = min(self.cfg.ema_decay, (1 + step) / (10 + step))
            network, twin = getattr(self, name), getattr(self, f"{name}_ema")
            torch._foreach_lerp_(list(twin.parameters()), list(network.parameters()), 1 - decay)
            for mine, theirs in zip(twin.buffers(), network.buffers(), strict=True):
                # Batch norm's running statistics belong to the weights, so they are averaged like them.
                mine.lerp_(theirs, 1 - decay) if mine.is_floating_point() else mine.copy_(theirs)

    @contextlib.contextmanager
    def evaluating(self):
        """Evaluation mode for the length of a `with`; the mode of every network is restored after it."""
        modes = [(m, m.training) for m in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

    def state(self):
        """Everything that training changes, as plain dicts of tensors, numbers and strings."""
        state = self.state_dict()
        averaged = tuple(f"{name}_ema." for name in self.ema)
        return {"nets": {k: v for k, v in state.items() if not k.startswith(averaged)},
                "ema": {k: v for k, v in state.items() if averaged and k.startswith(averaged)},
                "opts": {k: o.state_dict() for k, o in self.optimisers.items()}, "scalars": dict(self.scalars)}

    def restore(self, state):
        self.load_state_dict({**state["nets"], **state["ema"]})
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["opts"][name])
        self.scalars = dict(state["scalars"])


@contextlib.contextmanager
def frozen(*networks):
    """Guard the other player: inside, these networks get no gradient, but gradients flow through them."""
    before = [(p, p.requires_grad) for network in networks for p in network.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


def mix(*numbers):
    """One seed out of several whole numbers; near numbers give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(2, np.uint64)[0] >> np.uint64(1))


class Feed:
    """Batches of one split by step: a `permutation` for each epoch, faces mirrored half the time, kept where training happens."""

    def __init__(self, split, batch_size, seed, device, rank=0, world=1):
        if len(split) < batch_size * world:
            raise ValueError(f"the train split has {len(split)} faces, fewer than one batch of {batch_size * world}; "
                             "use a smaller batch_size or more faces")
        self.n, self.batch, self.seed, self.rank, self.world, self.device = len(split), batch_size, seed, rank, world, device
        fits = device.type != "cuda" or split.images.nbytes < torch.cuda.mem_get_info(device)[0] // 4
        with warnings.catch_warnings(action="ignore"):          # a file mapped read-only is only read here
            self.images = torch.from_numpy(np.ascontiguousarray(split.images)).to(device if fits else "cpu")
        self.known = {key: torch.from_numpy(np.array(getattr(split, key))) for key in ("attributes", "identities")
                      if getattr(split, key) is not None}
        self.order, self.mirror = {}, split.mirror                          # epoch -> permutation, two kept

    def permutation(self, epoch):
        if epoch not in self.order:
            generator = torch.Generator().manual_seed(mix(self.seed, 1, epoch))
            self.order = {k: v for k, v in self.order.items() if k == epoch - 1}
            self.order[epoch] = torch.randperm(self.n, generator=generator)
        return self.order[epoch]

    def __call__(self, step, generator):
        total = self.batch * self.world
        places = range(step * total, (step + 1) * total)
        index = torch.stack([self.permutation(p // self.n)[p % self.n] for p in places])
        mirror = torch.rand(total, generator=generator) < (0.5 if self.mirror else 0)
        mine = slice(self.rank * self.batch, (self.rank + 1) * self.batch)
        index, mirror = index[mine], mirror[mine].to(self.device)
        image = to_float(self.images[index.to(self.images.device)].to(self.device))
        batch = {"image": torch.where(mirror[:, None, None, None], image.flip(3), image)
                 .contiguous(memory_format=torch.channels_last)}
        return batch | {key: value[index].to(self.device) for key, value in self.known.items()}


def prepare(precision=None):
    """An `accelerate.Accelerator` for this machine, in the precision that pays there.

    precision: "bf16", "fp16" or "no" (float32); None chooses bf16 where the hardware computes in it, fp16 with a loss
    scaler on older GPUs (a T4), float32 elsewhere. Losses are computed in float32 in any case.
    """
    accelerate = need("accelerate")
    cuda = torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("1", "true", "yes")
    if precision is None and cuda:
        precision = "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
    elif precision is None:
        precision = "bf16" if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() else "no"
    # The state is shared by all Accelerators of a process; without this, the first precision would stay for ever.
    accelerate.state.AcceleratorState._reset_state()
    return accelerate.Accelerator(mixed_precision=precision)


def fit(method, faces, out, steps=None, seed=0, batch_size=None, save_every=500, log_every=20, precision=None,
        tensorboard=False, quiet=False):
    """Train `method` on `faces.train`, in the run folder `out`; a run that was stopped goes on where it was.

    steps: stop after so many optimiser steps (default: all of the method's phases). batch_size: images per process
    (default: the config's). precision: see `prepare`. The folder holds config.json, log.jsonl, samples/ and last.pt.
    Returns the method, in evaluation mode. Raises FileExistsError where `out` holds another run, Diverged when a loss
    is not finite (the last good checkpoint stays), RuntimeError when the GPU's memory or the disk is too small, with
    what to try, and KeyboardInterrupt after Ctrl-C, once the step is finished and saved.
    Several processes give the gradients of one with all their images in its batch. Batch norm is the exception: each
    process normalises by its own images, and the first one's running statistics are saved.
    """
    batch_size = batch_size or method.cfg.batch_size
    names, lengths = zip(*method.phases(), strict=True)
    ends = list(itertools.accumulate(lengths))
    steps = ends[-1] if steps is None else min(steps, ends[-1])
    accelerator = method.accelerator = prepare(precision)
    world, rank = accelerator.num_processes, accelerator.process_index
    method.to(accelerator.device, memory_format=torch.channels_last).train()
    method.adopt(faces)                                             # data that do not fit are refused before a folder is made
    feed = Feed(faces.train, batch_size, seed, accelerator.device, rank, world)
    run = Run(out, method, faces, seed, batch_size * world, accelerator, tensorboard)
    first = run.resume()
    bar = tqdm(total=steps, initial=min(first, steps), unit_scale=batch_size * world, unit="image",
               disable=quiet or rank > 0)
    with Interrupt() as interrupt, contextlib.closing(run), bar:
        for step in range(first, steps):
            method.generator.manual_seed(mix(seed, 2, step))
            torch.manual_seed(mix(seed, 3, step, rank))
            phase = names[bisect.bisect_right(ends, step)]
            try:
                run.note(step + 1, phase, method.step(feed(step, method.generator), phase))
            except torch.cuda.OutOfMemoryError as error:
                raise RuntimeError(f"the GPU's memory does not hold a batch of {batch_size}: try batch_size="
                                   f"{max(1, batch_size // 2)}, in a new run folder") from error
            method.average(step)
            stop = interrupt.wanted                                 # asked once: Ctrl-C may come at any line below
            last = stop or step + 1 == steps
            if last or (step + 1) % log_every == 0 or (step + 1) % save_every == 0:
                bar.set_postfix_str(run.flush())                    # raises Diverged before anything is saved
            if last or (step + 1) % save_every == 0:
                run.save(step + 1)
            bar.update()
            if stop:
                raise KeyboardInterrupt(f"stopped after step {step + 1}, which is saved: run the same command again to go "
                                        f"on from there, or delete {run.out} to start afresh")
    return method.eval()


class Run:
    """A run folder: what was asked (config.json), what happened (log.jsonl, samples/), where it is (last.pt); `close` it."""

    def __init__(self, out, method, faces, seed, batch_size, accelerator, tensorboard):
        self.out, self.method, self.accelerator = Path(out), method, accelerator
        self.batch_size, self.pending, self.writer, self.clock = batch_size, [], None, time.perf_counter()
        self.advice = f"the last good checkpoint in {out} is kept: go on from it in a new folder with a smaller step size"
        self.config = {"method": type(method).__name__, "config": dataclasses.asdict(method.cfg), "data": faces.name,
                       "size": list(faces.size), "faces": len(faces.train), "seed": seed, "batch_size": batch_size}
        self.config = json.loads(json.dumps(self.config))                   # as it will be read again: tuples are lists
        self.shown = (faces.val if len(faces.val) else faces.train).tensor(slice(0, 8))
        path = self.out / "config.json"
        if path.exists():
            if (there := json.loads(path.read_text())) != self.config:
                raise FileExistsError(f"{self.out} holds another run ({difference(there, self.config)}); choose another "
                                      "folder, or delete it if you do not need it")
        elif self.out.exists() and any(".tmp" not in p.name for p in self.out.iterdir()):
            raise FileExistsError(f"{self.out} is not empty and holds no run (no config.json); choose another folder")
        self.out.mkdir(parents=True, exist_ok=True)
        tensors = itertools.chain(method.parameters(), method.buffers())
        needed = 6 * sum(t.numel() * t.element_size() for t in tensors)     # weights, two moments, and the old file too
        if (free := shutil.disk_usage(self.out).free) < needed:
            raise RuntimeError(f"{self.out} has {free / 2**20:.0f} MiB of disk left and the checkpoints of this run need "
                               f"{needed / 2**20:.0f} MiB; free some space or choose a folder on another disk")
        accelerator.wait_for_everyone()             # no process looks into a folder that another is already filling
        if accelerator.is_main_process:
            for left in self.out.glob("*.tmp*"):    # of a run killed while it wrote
                left.unlink()
            write(path, json.dumps(self.config, indent=1).encode())
            (self.out / "samples").mkdir(exist_ok=True)
            if tensorboard:
                need("tensorboard")
                self.writer = need("torch.utils.tensorboard").SummaryWriter(self.out / "tensorboard")

    def resume(self):
        """Load last.pt into the method, if there is one -> the number of steps done. The log is cut back to that step."""
        path, log, done = self.out / "last.pt", self.out / "log.jsonl", 0
        if path.exists():
            state = load_checkpoint(path)
            if state["config"] != self.config:
                raise ValueError(f"{path} belongs to another run ({difference(state['config'], self.config)}); put the right "
                                 "one back, or delete it to start this run afresh")
            self.method.restore(state)
            done = state["step"]
        if log.exists() and self.accelerator.is_main_process:
            lines = [line for line in log.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= done]
            write(log, "".join(f"{line}\n" for line in lines).encode())
        return done

    def note(self, step, phase, losses):
        """Keep what a step returned, without waiting for the device."""
        self.pending.append((step, phase, {k: v.detach() for k, v in losses.items()}))

    def flush(self):
        """Check and log the steps since the last flush -> a short text for the progress bar. Raises Diverged."""
        if not self.pending:
            return ""
        for step, phase, losses in self.pending:
            for name, value in losses.items():
                if not math.isfinite(float(value)):
                    raise Diverged(f"{name} became {float(value)} at step {step} (phase {phase}); {self.advice}")
        step, phase, losses = self.pending[-1]
        means = {k: float(torch.stack([e[k].float() for _, at, e in self.pending if at == phase]).mean()) for k in losses}
        now = time.perf_counter()
        speed = len(self.pending) * self.batch_size / (now - self.clock)
        self.clock, self.pending = now, []
        record = {**self.method.scalars, "step": step, "phase": phase, "images": step * self.batch_size,
                  "images_per_second": round(speed, 1), **{k: round(v, 6) for k, v in means.items()}}
        if self.accelerator.is_main_process:
            with open(self.out / "log.jsonl", "a") as log:
                log.write(json.dumps(record) + "\n")
            for key, value in means.items() if self.writer else ():
                self.writer.add_scalar(key, value, step)
        return f"{phase} " + " ".join(f"{k}={v:.3g}" for k, v in means.items())

    def save(self, step):
        """Write last.pt whole or not at all, and a sheet of samples. Raises Diverged where a weight is not finite."""
        if not self.accelerator.is_main_process:
            return
        bad = [k for k, v in self.method.state_dict().items() if v.is_floating_point() and not v.isfinite().all()]
        if bad:                                             # a finite loss can have an infinite gradient
            raise Diverged(f"the weights {bad[0]} are not finite after step {step}; {self.advice}")
        buffer = io.BytesIO()
        state = {"step": step, "config": self.config, "rng": {"seed": self.config["seed"]}, **self.method.state()}
        torch.save(state, buffer)
        write(self.out / "last.pt", buffer.getvalue())
        shown = self.shown.to(self.accelerator.device)
        with torch.no_grad(), self.method.evaluating():
            rows = torch.stack([row.cpu() for row in self.method.preview(shown)])         # (rows, B, 3, H, W)
        sheet = to_uint8(rows).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)         # (rows * H, B * W, 3)
        buffer = io.BytesIO()
        Image.fromarray(sheet.numpy()).save(buffer, "png")
        write(self.out / "samples" / f"{step:07d}.png", buffer.getvalue())

    def close(self):
        if self.writer:
            self.writer.close()


def difference(there, here):
    """In words, the first settings in which two run configurations differ."""
    flat = lambda d: {**d, **{f"config.{k}": v for k, v in d.get("config", {}).items()}, "config": None}
    there, here = flat(there), flat(here)
    parts = [f"{k} is {there.get(k)!r} there and {here.get(k)!r} here"
             for k in here.keys() | there.keys() if there.get(k) != here.get(k)]
    return "; ".join(sorted(parts)[:3])


def write(path, data):
    """Write bytes so that `path` holds either all of them or what it held before."""
    temporary = Path(f"{path}.tmp{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path):
    """Read a last.pt -> dict. Refuses what is cut off, not ours, or holds code instead of tensors and numbers."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors and numbers (pickled code, perhaps) or is damaged, and was not "
                         "loaded; use a checkpoint written by facelib") from error
    except Exception as error:                                  # a damaged file can raise anything in the unpickler
        raise ValueError(f"{path} cannot be read: it is cut off or no checkpoint ({error}); delete it to start this run "
                         "afresh") from error
    if not isinstance(state, dict) or set(state) != {"step", "config", "rng", "nets", "ema", "opts", "scalars"}:
        raise ValueError(f"{path} is not a checkpoint of facelib; use a last.pt written by facelib.fit")
    return state
