"""The book's equations, one function each. Discriminators give logits: D(x) = sigmoid(logit)."""

import math

import torch
import torch.nn.functional as F


def reconstruction(pred, image, mask, power=2):
    """Weighted mean squared error over the hole: ||M (C(x, M) - x)||^2, divided by the number of its values.

    pred, image (B, 3, H, W) in [-1, 1], mask (B, 1, H, W) with 1 = hole. power: 1 gives the mean absolute error. Iizuka
    et al. 2017, eq. 2. The division makes the weight of the adversarial loss independent of the hole's size.
    """
    error = (mask * (pred.float() - image)).abs() ** power
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


def hinge_D(real, fake):
    """Discriminator's hinge loss: logits beyond +1 for real and -1 for fake cost nothing (Lim and Ye 2017, eq. 7)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def hinge_G(fake):
    """Generator's loss beside `hinge_D`: minus the logit of its own output."""
    return -fake.float().mean()


def relativistic(better, worse):
    """softplus(-(better - worse)), the mean over pairs of logits of one shape: is each better one above its worse one?

    The discriminator's loss is relativistic(real, fake), the generator's relativistic(fake, real). Paired with its own
    photograph, a completion is compared with what was there; where both show the same pixels nothing is learnt.
    Jolicoeur-Martineau 2019, eq. 6.
    """
    return F.softplus(worse.float() - better.float()).mean()


def feature_matching(fake, real):
    """Mean absolute difference of D's maps for fake and for real faces, averaged over the layers.

    fake, real: lists of maps (B, C, H, W); no gradient goes to those of the real faces. Salimans et al. 2016, section
    3.1; layer by layer and pair by pair as in Wang et al. 2018, eq. 4.
    """
    return sum((a - b.detach()).abs().mean(dtype=torch.float32) for a, b in zip(fake, real, strict=True)) / len(fake)


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


POOLING = {"average": F.avg_pool2d, "max": F.max_pool2d, "none": lambda image, _: image}


def encoding_cost(pred, image, pooling="average", reduction="sum", weight=None):
    """Squared error between pictures pooled over 4x4 pixels: the enc_cost of the adversarial denoising autoencoder.

    pred, image (B, 3, H, W) in [-1, 1]. pooling: one of POOLING. reduction: "sum" adds up the values of a picture and takes
    the mean over the batch; "mean" is the mean over all values. weight: of each pixel's error (B, 1, H, W), averaged over
    what is pooled; default 1.
    """
    weight = torch.ones_like(image[:, :1]) if weight is None else weight
    weight = weight if pooling == "none" else F.avg_pool2d(weight, 4)
    error = weight * (POOLING[pooling](pred.float(), 4) - POOLING[pooling](image, 4)) ** 2
    if reduction == "sum":
        return error.sum() / len(image)
    return error.sum() / (image.shape[1] * weight.sum()).clamp(min=1)


def context_weights(mask, window=7):
    """How much each known pixel says about the hole: the share of hole pixels in the window around it, 0 in the hole.

    mask (B, 1, H, W) with 1 = hole -> (B, 1, H, W) in [0, 1]. window: odd, pixels; 7 in the paper, 15 in its authors'
    code. At the picture's border the window is cut off: the share is taken of the pixels that are inside. A known pixel
    whose window meets no hole weighs nothing. Yeh et al. 2017, eq. 3.
    """
    if window % 2 == 0:
        raise ValueError(f"window must be odd, so that it has a middle, got {window}")
    share = F.avg_pool2d(mask.float(), window, 1, window // 2, count_include_pad=False)
    return (1 - mask.float()) * share


def context(pred, image, weights):
    """Context loss of each face: ||W (G(z) - y)||_1, summed over pixels and channels.

    pred, image (B, 3, H, W) in [-1, 1], weights (B or 1, 1, H, W) -> (B,). Yeh et al. 2017, eq. 4.
    """
    return (weights * (pred.float() - image).abs()).flatten(1).sum(1)


def prior(fake):
    """Prior loss of each face: log(1 - D(G(z))), the lower the more D takes the face for a real one.

    fake: D's logits of generated faces, (B, 1) -> (B,). Taken from the logits, it is exact where 1 - D is too small for a
    float. Its weight is called lambda. Yeh et al. 2017, eq. 5.
    """
    return -F.softplus(fake.float()).sum(1)


def r1(logits, image):
    """Squared gradient of D at real faces, the mean over them: how steep D is where it should be flat.

    logits (B, 1) = D(image), image (B, 3, H, W), or codes (B, d), with requires_grad. gamma / 2 times it is added to D's
    loss. Mescheder et al. 2018, eq. 9.
    """
    (slope,) = torch.autograd.grad(logits.float().sum(), image, create_graph=True)
    return slope.float().pow(2).flatten(1).sum(1).mean()


def information(answer, latents, categorical, continuous):
    """Lower bound of the mutual information of codes and images, in nats -> (categorical, continuous), scalars.

    answer (B, sum(categorical) + 2 continuous): Q's logits of the categorical codes, then means and log-variances of the
    continuous ones. latents: the codes that made the images, "c_cat" one-hot (B, sum) and "c_cont" (B, continuous).
    E[log Q(c|x)] + H(c) for each kind, H of uniform codes: log K for K classes, log 2 on [-1, 1]. It is at most H(c) for
    categorical codes, and negative where Q knows less than nothing. Log-variances are bent into (-4, 2): a code that is read
    off exactly would be worth infinitely much. Chen et al. 2016, eq. 5.
    """
    logits, mean, log_var = answer.float().split([sum(categorical), continuous, continuous], 1)
    zero = answer.new_zeros((), dtype=torch.float32)
    known = [-F.cross_entropy(part, truth) + math.log(part.shape[1]) for part, truth in
             zip(logits.split(list(categorical), 1), latents["c_cat"].split(list(categorical), 1), strict=True)] \
        if categorical else []
    log_var = 3 * torch.tanh((log_var + 1) / 3) - 1                     # not clamped: a clamp has no way back
    squares = (latents["c_cont"] - mean) ** 2 / log_var.exp() + log_var + math.log(2 * math.pi)
    return sum(known, zero), (math.log(2) - squares / 2).sum(1).mean() if continuous else zero


def balance(real, fake, gamma):
    """gamma L(x) - L(G(z)): above 0, G fools D's autoencoder more than the equilibrium allows. Berthelot et al. 2017, eq. 6.

    real, fake: mean reconstruction errors of real and generated images, scalars.
    """
    return gamma * real - fake


def convergence(real, fake, gamma):
    """M = L(x) + |gamma L(x) - L(G(z))|, which falls while BEGAN learns. Berthelot et al. 2017, section 3.4."""
    return real + balance(real, fake, gamma).abs()
