"""Network blocks that two methods or more use."""

from torch import nn

ACTIVATIONS = {"relu": lambda: nn.ReLU(inplace=True), "leaky": lambda: nn.LeakyReLU(0.2, inplace=True), None: nn.Identity}


def conv(inner, outer, kernel=3, stride=1, dilation=1, norm=False, act="relu", spectral=False):
    """Convolution that keeps the size (or divides it by `stride`), then batch norm and an activation.

    (B, inner, H, W) -> (B, outer, H / stride, W / stride). norm: batch normalisation. act: "relu", "leaky" (0.2) or
    None. spectral: spectral normalisation of the weight (Miyato et al. 2018).
    """
    layer = nn.Conv2d(inner, outer, kernel, stride, dilation * (kernel // 2), dilation, bias=not norm)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")      # keeps the signal alive where there is no norm
    layer = nn.utils.parametrizations.spectral_norm(layer) if spectral else layer
    return nn.Sequential(layer, nn.BatchNorm2d(outer) if norm else nn.Identity(), ACTIVATIONS[act]())


def upconv(inner, outer, norm=False, act="relu"):
    """Fractionally strided 4x4 convolution: (B, inner, H, W) -> (B, outer, 2H, 2W), then batch norm and an activation."""
    layer = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=not norm)
    nn.init.normal_(layer.weight, std=(2 / (4 * inner)) ** 0.5)     # each output pixel sees 2x2 of the 4x4 weights
    return nn.Sequential(layer, nn.BatchNorm2d(outer) if norm else nn.Identity(), ACTIVATIONS[act]())
