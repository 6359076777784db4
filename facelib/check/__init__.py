"""The exercise checker: `check.ex("slug", answer)` says at once, offline, whether an answer is right, and hints if not."""

from facelib.check import (
    augmentation,
    began,
    benchmark,
    classical,
    denoising,
    enhance,
    faces,
    gan,
    glcic,
    holes,
    infogan,
    recovery,
    semantic,
    training,
)
from facelib.check.checker import EXERCISES, ex

__all__ = ["EXERCISES", "augmentation", "began", "benchmark", "classical", "denoising", "enhance", "ex", "faces", "gan", "glcic",
           "holes", "infogan", "recovery", "semantic", "training"]
