"""The book's equations, one function each. Discriminators give logits: D(x) = sigmoid(logit)."""

import torch
import torch.nn.functional as F


def reconstruction(pred, image, mask):
    """Weighted mean squared error over the hole: ||M (C(x, M) - x)||^2, divided by the number of its values.

    pred, image (B, 3, H, W) in [-1, 1], mask (B, 1, H, W) with 1 = hole. Iizuka et al. 2017, eq. 2. The division makes
    the weight of the adversarial loss independent of the hole's size.
    """
    error = (mask * (pred.float() - image)) ** 2
    return error.sum() / (image.shape[1] * mask.sum()).clamp(min=1)


def gan_D(real, fake, smoothing=1.0):
    """Discriminator's loss: -log D(real) - log(1 - D(fake)), means over logits of any shape.

    smoothing: the target for real, for example 0.75 (one-sided label smoothing, Salimans et al. 2016, 3.4; the target
    for fake stays 0). Goodfellow et al. 2014, eq. 1.
    """
    real, fake = real.float(), fake.float()
    target = torch.full_like(real, smoothing)
    return F.binary_cross_entropy_with_logits(real, target) + F.softplus(fake).mean()


def gan_G(fake, saturating=False):
    """Generator's loss on logits of its own output.

    Non-saturating: -log D(fake). Saturating: log(1 - D(fake)), whose gradient vanishes where D is sure of itself.
    Goodfellow et al. 2014, section 3.
    """
    fake = fake.float()
    return -F.softplus(fake).mean() if saturating else F.softplus(-fake).mean()


def real_logit(logits):
    """n + 1 class logits -> the logit of "real": log sum_{k<=n} exp(l_k) - l_{n+1}. (B, n + 1) -> (B, 1).

    Salimans et al. 2016, section 5: the first n classes are kinds of real faces, the last one is "generated". With one
    logit it is the logit itself.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return logits
    return logits[:, :-1].logsumexp(1, keepdim=True) - logits[:, -1:]


def supervised(logits, labels):
    """Cross entropy of the n real classes, given that the face is real: (B, n + 1) logits, labels (B,), -1 = unknown."""
    total = F.cross_entropy(logits[:, :-1].float(), labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def elbo(pred, image, mean, log_var, noise):
    """The two terms of a VAE's loss, -ELBO divided by the number of values of an image -> (rec, kl), scalars.

    pred, image (B, 3, H, W) in [-1, 1]; mean, log_var (B, z_dim) of q(z|x). rec is the Gaussian negative log likelihood
    ||x - G(z)||^2 / (2 noise^2) without its constant, kl is KL(q(z|x) || N(0, 1)). noise: the standard deviation of a
    value that G(z) leaves unexplained; larger means fewer details and latents nearer to the prior. Kingma and Welling
    2014, eq. 10 and appendix B.
    """
    rec = (pred.float() - image).pow(2).mean() / (2 * noise ** 2)
    kl = 0.5 * (mean ** 2 + log_var.exp() - 1 - log_var).sum(1).mean()
    return rec, kl / image[0].numel()
