"""The experiments on codes that control a generator: the search of Poka et al. 2019 through the hyper-parameters."""

import torch

from facelib import losses, metrics
from facelib.methods import method_class
from facelib.studies.study import Study, samples

IMAGES = 12_000        # that every run sees, however it groups them into steps
ASKED = 1024           # generated faces whose latents are read


def grey_levels(a, b):
    """Mean absolute difference of images in [-1, 1], in grey levels of 255."""
    return float((a - b).abs().mean()) * 127.5


def told(method, test):
    """What codes do to generated faces, and what of their latents is read again -> figures.

    accuracy: the share of classes that are read. switched, turned, redrawn: grey levels by which a face changes when its
    class is another, when its first continuous code goes from -1 to 1, when its noise is another. noise_error: mean
    squared error of the noise that is read; 1 is knowing nothing, NaN where nobody reads it. psnr: of test faces made again
    from what is read of them. A method without codes has NaN throughout.
    """
    names = ("accuracy", "switched", "turned", "redrawn", "noise_error", "psnr")
    if not method.layout.codes:
        return dict.fromkeys(names, float("nan"))
    layout, classes = method.layout, method.cfg.categorical[0]
    vector, other = method.draw_latents(ASKED, seed=1), method.draw_latents(ASKED, seed=2)
    image, truth = method.generate(vector), layout.split(vector)
    found, known = read(method, image), truth["c_cat"][:, :classes].argmax(1)
    switched = truth["c_cat"].clone()
    switched[:, :classes] = switched[:, :classes].roll(1, 1)
    ends = [method.generate(layout.set(vector, "c_cont0", end)) for end in (-1, 1)]
    figures = [float((found["c_cat"][:, :classes].argmax(1) == known).float().mean()),
               grey_levels(method.generate(truth | {"c_cat": switched}), image), grey_levels(*ends),
               grey_levels(method.generate(truth | {"z": layout.split(other)["z"]}), image), *[float("nan")] * 2]
    if "z" in found:
        again = method.generate(read(method, test))
        figures[4:] = float((found["z"] - truth["z"]).pow(2).mean()), float(metrics.psnr(again, test).mean())
    return dict(zip(names, figures, strict=True))


@torch.no_grad()
def read(method, image):
    """What a method reads off images (B, 3, H, W): the codes, and z where R or an anchored InfoGAN's encoder tells it."""
    parts, found = image.split(128), method.encode(image)
    with method.evaluating():
        if hasattr(method, "R"):
            trunk = method.cfg.recovery == "trunk"
            found["z"] = torch.cat([method.R(method.D.features(part) if trunk else part).float() for part in parts])
        elif hasattr(method, "E"):
            found["z"] = torch.cat([method.E(part)[0] for part in parts])
    return found


@torch.no_grad()
def controlled(method, test, real, judges):
    """Faces drawn of latents as a set, what codes do to them, and what of their latents is read again.

    information: nats about the classes, of at most log 10 = 2.3. See `study.samples` and `told`.
    """
    vector = method.draw_latents(ASKED, seed=1)
    with method.evaluating():
        answer = torch.cat([method.Q(method.D.features(part)) for part in method.generate(vector).split(128)])
    information = losses.information(answer, method.layout.split(vector), method.cfg.categorical, method.cfg.continuous)
    figures = {"information": float(information[0]), "information_cont": float(information[1])}
    return samples(method, test, real, judges)[0] | figures | told(method, test), {}


# What our shipped weights do instead: a start as a VAE's decoder, an anchor to faces, R1 for D.
BOOK = {"batch_norm": False, "r1": 0.05, "d_noise": 0.0, "lr": 3e-4, "anchor": 5.0, "steps": (100, 32, 0, IMAGES // 32 - 132)}


def small(**changes):
    """The project's kind of InfoGAN, in small: no start, no R1, batch norm, one step size for all, noise on D's input."""
    cls = method_class("infogan")
    return cls.Config(**{"size": 32, "z_dim": 52, "latents": "normal", "width": 12, "d_width": 12, "d_features": 64,
                         "batch_size": 32, "steps": (0, 0, 0, IMAGES // 32), "lr": 5e-4, "d_lr": 5e-4,
                         "d_noise": 1 / 15, "d_noise_half": 200, "ema_decay": 0.99, **changes})


def study():
    """The project's grid, one value at a time, and its extensions; see BOOK.

    The project searched image sizes 32 and 64, latents of 64 and 128 values, batches of 8 to 512, noise of power 1/15 and
    1/20 and step sizes of 1e-4 and 2e-4 in runs of up to 30 hours. Here every run sees 12,000 rendered faces with few
    channels, so the step sizes are larger, and batches are compared at equally many images.
    """
    return Study("infogan", small(), {
        "one step size": {},
        "slower G": {"lr": 2e-4},
        "slower D": {"d_lr": 2e-4},
        "64 pixels": {"size": 64},
        "64 pixels, latent 128": {"size": 64, "z_dim": 116},
        "latent 128": {"z_dim": 116},
        "batches of 8": {"batch_size": 8, "steps": (0, 0, 0, IMAGES // 8)},
        "batches of 128": {"batch_size": 128, "steps": (0, 0, 0, IMAGES // 128)},
        "no noise": {"d_noise": 0.0},
        "noise 1/20": {"d_noise": 1 / 20},
        "noise 1/5": {"d_noise": 1 / 5},
        "two updates of D": {"d_updates": 2},
        "noise in the trunk": {"recovery": "trunk"},
        "noise by a network": {"recovery": "joint"},
        "no information": {"mi": 0.0, "mi_continuous": 0.0},
        "book": BOOK,
        "book, codes not assigned": BOOK,
    }, {
        "slower G": "One learning rate for all subnetworks may not be the best choice (3.3.2, 1).",
        "slower D": "One learning rate for all subnetworks may not be the best choice (3.3.2, 1).",
        "64 pixels": "Image size and latent size should change together to maintain quality (3.3.2, 2).",
        "64 pixels, latent 128": "Image size and latent size should change together to maintain quality (3.3.2, 2).",
        "latent 128": "Image size and latent size should change together to maintain quality (3.3.2, 2).",
        "batches of 8": "The batch size largely affects the quality (3.3.2, 3).",
        "batches of 128": "The batch size largely affects the quality (3.3.2, 3).",
        "no noise": "At the beginning D gains too much advantage; noise on its input makes room for G (3.3.2).",
        "noise 1/20": "The higher value of noise power, 1/15, is needed for balanced training (3.3.2, 4).",
        "noise 1/5": "Not tried: noise of a higher power.",
        "two updates of D": "k steps of D to one of G; k is usually 1 (2).",
        "noise in the trunk": "Recovery of the noise slowed down and stalled, and was not sufficient (3.3.2).",
        "noise by a network": "A network of its own gave higher quality and slightly faster convergence (3.3.3).",
        "no information": "InfoGAN is focused on the information, and not on visually pleasing images (4).",
        "book": "Not tried: a generator that starts as a VAE's decoder and stays anchored to faces.",
        "book, codes not assigned": "Not tried: a generator that starts as a VAE's decoder and stays anchored to faces.",
    }, {"one step size": (0, 1)}, controlled, ("mi", "mi_cont", "recovery", "adv", "loss_D", "D_real", "D_fake"),
        {"book, codes not assigned": "assign"})
