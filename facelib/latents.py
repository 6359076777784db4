"""The latents of a generator with codes: noise z, categorical codes c_cat and continuous codes c_cont."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Layout:
    """Which latents there are: their names in a dict, their places in the vector (B, length) that a generator takes.

    z_dim: length of the noise z. categorical: the number of values of each categorical code; one-hot, side by side, in
    "c_cat" (B, sum). continuous: how many continuous codes, uniform in [-1, 1], in "c_cont" (B, continuous). noise: z is
    "normal" N(0, 1) or "uniform" in [-1, 1]. Chen et al. 2016, section 7.
    """

    z_dim: int
    categorical: tuple = ()
    continuous: int = 0
    noise: str = "normal"

    def __post_init__(self):
        if self.noise not in ("normal", "uniform"):
            raise ValueError(f"noise must be normal or uniform, got {self.noise!r}")
        if any(n < 2 for n in self.categorical):
            raise ValueError(f"a categorical code needs 2 values or more, got {self.categorical}")

    @property
    def sizes(self):
        """Name of each part of the vector -> its length, in their order."""
        return {"z": self.z_dim, "c_cat": sum(self.categorical), "c_cont": self.continuous}

    @property
    def length(self):
        """How long the vector of all latents of a face is."""
        return sum(self.sizes.values())

    @property
    def codes(self):
        """The names of the codes: c_cat0, ..., c_cont0, ..."""
        return [f"c_cat{i}" for i in range(len(self.categorical))] + [f"c_cont{i}" for i in range(self.continuous)]

    def draw(self, n, generator):
        """n latents of the prior, drawn on the CPU, joined -> (n, length)."""
        normal = self.noise == "normal"
        z = torch.randn(n, self.z_dim, generator=generator) if normal else torch.rand(n, self.z_dim, generator=generator) * 2 - 1
        parts = [z] + [F.one_hot(torch.randint(k, (n,), generator=generator), k).float() for k in self.categorical]
        return torch.cat([*parts, torch.rand(n, self.continuous, generator=generator) * 2 - 1], 1)

    def sample(self, n, seed=0, spread=1.0):
        """n latents of the prior, joined -> (n, length) on the CPU; the same seed gives the same. spread: factor of z."""
        vector = self.draw(n, torch.Generator().manual_seed(seed))
        vector[:, :self.z_dim] *= spread
        return vector

    def join(self, latents):
        """A dict of latents -> (B, length). ValueError where one is missing or has another size."""
        for name, size in self.sizes.items():
            if size and (name not in latents or latents[name].shape[1] != size):
                raise ValueError(f"latents must hold {name} (B, {size}), got "
                                 f"{ {k: tuple(v.shape) for k, v in latents.items()} }")
        return torch.cat([latents[name] for name, size in self.sizes.items() if size], 1)

    def split(self, vector):
        """(B, length) -> a dict of latents, views of it."""
        if vector.ndim != 2 or vector.shape[1] != self.length:
            raise ValueError(f"joined latents must be (B, {self.length}), got {tuple(vector.shape)}")
        return dict(zip(self.sizes, vector.split(list(self.sizes.values()), 1), strict=True))

    def set(self, vector, code, value):
        """Joined latents (B, length) with one code set: a categorical one to the class `value`, a continuous one to it."""
        if code not in self.codes:
            raise ValueError(f"code must be one of {', '.join(self.codes) or 'none: this generator has no codes'}, got {code!r}")
        kind = code.rstrip("0123456789")
        number = int(code.removeprefix(kind))
        vector = vector.clone()
        if kind == "c_cont":
            vector[:, self.z_dim + sum(self.categorical) + number] = value
            return vector
        k, first = self.categorical[number], self.z_dim + sum(self.categorical[:number])
        if not 0 <= int(value) < k:
            raise ValueError(f"{code} has the classes 0 to {k - 1}, got {value}")
        vector[:, first:first + k] = F.one_hot(torch.tensor(int(value)), k).to(vector)
        return vector

    def likely(self, vector):
        """Joined latents back to where the generator knows them -> (B, length).

        Normal noise goes into the ball near whose surface it lies, uniform noise and continuous codes into [-1, 1];
        categorical codes, which a gradient has made mixtures, to the simplex by clipping and dividing by their sum.
        """
        parts = self.split(vector)
        z = parts["z"]
        if self.noise == "uniform":
            z = z.clamp(-1, 1)
        else:
            z = z * (self.z_dim ** 0.5 / z.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1)
        shares = [part.clamp(min=1e-6) / part.clamp(min=1e-6).sum(1, keepdim=True)
                  for part in parts["c_cat"].split(list(self.categorical), 1)] if self.categorical else []
        return torch.cat([z, *shares, parts["c_cont"].clamp(-1, 1)], 1)
