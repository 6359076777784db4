"""The exercise checker: `check.ex("slug", answer)` says at once, offline, whether an answer is right, and hints if not."""

from facelib.check import benchmark, classical, denoising, foundations, gan, glcic, semantic
from facelib.check.checker import EXERCISES, ex

__all__ = ["EXERCISES", "benchmark", "classical", "denoising", "ex", "foundations", "gan", "glcic", "semantic"]
