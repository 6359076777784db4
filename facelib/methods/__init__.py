"""One module, one method. Adding a method adds its module, one line here, its chapter and one line of `_toc.yml`."""

import importlib

METHODS = {
    "began": "facelib.methods.began:BEGAN",
    "context_encoder": "facelib.methods.context_encoder:ContextEncoder",
    "dcgan": "facelib.methods.dcgan:DCGAN",
    "denoising": "facelib.methods.denoising:DenoisingAutoencoder",
    "enhance": "facelib.methods.enhance:EnhanceGAN",
    "glcic": "facelib.methods.glcic:GLCIC",
    "infogan": "facelib.methods.infogan:InfoGAN",
    "judges": "facelib.methods.judges:Judges",
    "pixel_recursive": "facelib.methods.pixel_recursive:PixelRecursive",
    "predictor": "facelib.methods.predictor:Predictor",
    "sr_gan": "facelib.methods.sr_gan:SRGAN",
    "sr_regression": "facelib.methods.sr_regression:SRRegression",
    "stgan": "facelib.methods.stgan:STGAN",
    "vae": "facelib.methods.vae:VAE",
}


def method_class(name):
    """The class of a method by its name in METHODS."""
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    module, attribute = METHODS[name].split(":")
    return getattr(importlib.import_module(module), attribute)
