"""Network blocks that two methods or more use."""

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS = {"relu": lambda: nn.ReLU(inplace=True), "leaky": lambda: nn.LeakyReLU(0.2, inplace=True), None: nn.Identity}


def conv(inner, outer, kernel=3, stride=1, dilation=1, norm=False, act="relu", spectral=False):
    """Convolution that keeps the size (or divides it by `stride`), then batch norm and an activation.

    (B, inner, H, W) -> (B, outer, H / stride, W / stride). norm: batch normalisation. act: "relu", "leaky" (0.2) or
    None. spectral: spectral normalisation of the weight (Miyato et al. 2018).
    """
    layer = nn.Conv2d(inner, outer, kernel, stride, dilation * ((kernel - 1) // 2), dilation, bias=not norm)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")      # keeps the signal alive where there is no norm
    layer = nn.utils.parametrizations.spectral_norm(layer) if spectral else layer
    return nn.Sequential(layer, nn.BatchNorm2d(outer) if norm else nn.Identity(), ACTIVATIONS[act]())


def upconv(inner, outer, kernel=4, norm=False, act="relu"):
    """Fractionally strided convolution: (B, inner, H, W) -> (B, outer, 2H, 2W), then batch norm and an activation.

    kernel: 4 gives every output pixel as many weights as its neighbour; 5 does not, which is where checkerboards come from
    (Odena et al. 2016).
    """
    layer = nn.ConvTranspose2d(inner, outer, kernel, 2, (kernel - 1) // 2, kernel % 2, bias=not norm)
    nn.init.normal_(layer.weight, std=(2 / (inner * (kernel / 2) ** 2)) ** 0.5)     # a pixel sees a quarter of the weights
    return nn.Sequential(layer, nn.BatchNorm2d(outer) if norm else nn.Identity(), ACTIVATIONS[act]())


class ResidualBlock(nn.Module):
    """x + two 3x3 convolutions of x, without a norm: (B, channels, H, W) -> the same shape.

    dilation: of the first convolution. The last convolution starts at zero, so a new block changes nothing and a stack of
    them can be trained without batch norm (Zhang et al. 2019, "Fixup").
    """

    def __init__(self, channels, dilation=1):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.zeros_(self.first.bias)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x):
        return x + self.last(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))


class Attention(nn.Module):
    """x + what every place takes over from all other places: (B, channels, H, W) -> the same shape.

    Self-attention with several heads (Vaswani et al. 2017; in a GAN: Zhang et al. 2019). Its cost grows with (H W)^2, so it
    stands where the maps are small. The last layer starts at zero, as in `ResidualBlock`. channels: a multiple of heads.
    """

    def __init__(self, channels, heads=4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(1, channels)
        self.queries_keys_values = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x):
        b, c, h, w = x.shape
        split = self.queries_keys_values(self.norm(x)).view(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = split.transpose(3, 4).unbind(1)                                         # (B, heads, H W, c / heads)
        found = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(found.transpose(2, 3).reshape(b, c, h, w))


class Generator(nn.Module):
    """Latents (B, z_dim) -> images (B, 3, size, size) in [-1, 1]: the generator of a DCGAN, the decoder of a VAE.

    One fully connected layer makes 8 * width maps of 4x4; each fractionally strided convolution doubles the size and
    halves the maps (Radford et al. 2016). size: a power of two times 4.
    """

    def __init__(self, z_dim, width, size=64, kernel=4, norm=True):
        super().__init__()
        layers = (size // 4).bit_length() - 1
        widths = [8 * width >> i for i in range(layers)]
        self.first = nn.Linear(z_dim, widths[0] * 16)
        self.norm = nn.Sequential(nn.BatchNorm2d(widths[0]) if norm else nn.Identity(), nn.ReLU(inplace=True))
        self.up = nn.Sequential(*(upconv(a, b, kernel, norm) for a, b in zip(widths, widths[1:], strict=False)))
        self.last = upconv(widths[-1], 3, kernel, act=None)

    def forward(self, z):
        x = self.norm(self.first(z).unflatten(1, (-1, 4, 4)))                             # (B, 8 width, 4, 4)
        return torch.tanh(self.last(self.up(x)).float())


def downs(width, size=64, kernel=4, norm=False, spectral=False):
    """Convolutions of stride 2, from (B, 3, size, size) to (B, 8 width, 4, 4): the trunk of discriminators and encoders.

    size: pixels, a power of two times 4; one layer more for each doubling. The first layer has no batch norm, as the DCGAN
    guidelines say (Radford et al. 2016, section 3).
    """
    layers = (size // 4).bit_length() - 1
    widths = [3, *(min(width << i, 8 * width) for i in range(layers))]
    pairs = zip(widths, widths[1:], strict=False)
    return nn.Sequential(*(conv(a, b, kernel, 2, norm=norm and i > 0, act="leaky", spectral=spectral)
                           for i, (a, b) in enumerate(pairs)))


class Encoder(nn.Module):
    """Images (B, 3, size, size) -> mean and log-variance of their latents, (B, z_dim) each: the encoder of a VAE.

    size: as for `downs`.
    """

    def __init__(self, z_dim, width, size=64, norm=False):
        super().__init__()
        self.downs = downs(width, size, norm=norm)
        self.vector = nn.Linear(16 * self.downs[-1][0].out_channels, 2 * z_dim)

    def forward(self, image):
        mean, log_var = self.vector(self.downs(image).flatten(1)).float().chunk(2, 1)
        return mean, log_var.clamp(-10, 10)         # exp() of an untrained output must not overflow


class Upscaler(nn.Module):
    """Faces (B, 3, 8, 8) -> (B, 3, 32, 32), not clamped: bicubic enlargement, and what a residual network adds to it.

    Residual blocks at 8x8, where they are cheap, then two sub-pixel convolutions (Shi et al. 2016), as in SRResNet (Ledig
    et al. 2017) without its batch norm. The faces are aligned, so a pixel's place tells what it is part of: every place
    has features of its own (`places`), and one fully connected layer lets it know the whole face. It starts as bicubic.
    """

    def __init__(self, width=96, blocks=6):
        super().__init__()
        self.whole = nn.Sequential(nn.Linear(192, 256), nn.ReLU(inplace=True), nn.Linear(256, 16 * 64))
        self.places = nn.Parameter(torch.zeros(1, width, 8, 8))
        self.first = conv(3 + 16, width, act=None)
        self.blocks = nn.ModuleList(nn.Sequential(conv(width, width), conv(width, width, act=None)) for _ in range(blocks))
        for block in self.blocks:                               # sums without a norm would grow
            nn.init.zeros_(block[1][0].weight)
        self.up = nn.Sequential(conv(width, 2 * width), nn.PixelShuffle(2), conv(width // 2, width), nn.PixelShuffle(2),
                                conv(width // 4, width // 4))
        self.last = nn.Conv2d(width // 4, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, low):
        whole = self.whole(low.flatten(1)).unflatten(1, (16, 8, 8))
        x = F.relu(self.first(torch.cat([low, whole], 1)) + self.places)                  # (B, width, 8, 8)
        for block in self.blocks:
            x = F.relu(x + block(x))
        bicubic = F.interpolate(low.float(), scale_factor=4, mode="bicubic", align_corners=False)
        return bicubic + self.last(self.up(x)).float()


class Whitening(nn.Module):
    """Makes N(0, 1) the distribution of the latents that an encoder finds, without changing any reconstruction.

    After a short training a VAE's latents are far from the prior, and where the prior draws then, the generator knows no
    faces: ex-post density estimation (Ghosh et al. 2020), here with one Gaussian. It follows the mean m and the second
    moment of the latents (B, z_dim); with their covariance L L^T, z = m + L e folds into the generator's first layer and
    its inverse into the encoder's last one. The posterior's variances, small and diagonal, are carried over on average.
    """

    def __init__(self, z_dim):
        super().__init__()
        self.register_buffer("mean", torch.zeros(z_dim))
        self.register_buffer("square", torch.eye(z_dim))                    # E[z z^T]

    @torch.no_grad()
    def follow(self, z):
        """Move the moments a little towards those of the latents z (B, z_dim) of one batch."""
        z = z.float()
        self.mean.lerp_(z.mean(0), 0.005)
        self.square.lerp_(z.T @ z / len(z), 0.005)

    @torch.no_grad()
    def fold(self, encoders, generators, accelerator=None):
        """Change the first layers of Generators and the last ones of Encoders, in place."""
        mean, square = self.mean, self.square
        if accelerator is not None:                                         # each process saw its own faces
            mean, square = accelerator.reduce(mean, "mean"), accelerator.reduce(square, "mean")
        factor = torch.linalg.cholesky(square - torch.outer(mean, mean) + 1e-4 * torch.eye(len(mean)).to(mean))
        inverse = torch.linalg.inv(factor)
        for G in generators:
            of_z = G.first.weight[:, :len(mean)]                                # a view; codes may follow the latents
            G.first.bias += of_z @ mean
            of_z.copy_(of_z @ factor)
        for E in encoders:
            means = E.vector.weight[:len(mean)]                                 # views: writing stays
            shift, log_var = E.vector.bias[:len(mean)], E.vector.bias[len(mean):]
            means.copy_(inverse @ means)
            shift.copy_(inverse @ (shift - mean))
            if len(log_var):                                                    # none where an encoder has but means
                log_var += inverse.square().sum(1).log()
