"""Starters and solutions of the exercises of the first chapters."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "faces-range": ("answer = (..., ...)", "answer = (-0.6, 128)"),
    "faces-mean": (
        """
        def answer(images):
            return images.mean() / 127.5 - 1
        """, """
        def answer(images):
            return images.mean(axis=(0, 2, 3)) / 127.5 - 1
        """),
    "faces-split-leak": (
        """
        def answer(k, p):
            return p
        """, """
        def answer(k, p):
            return 1 - (1 - p) ** (k - 1)
        """),
    "faces-flip": (
        """
        def answer(image, eyes):
            return image.flip(3), eyes
        """, """
        def answer(image, eyes):
            eyes = eyes.flip(1).clone()
            eyes[..., 0] = image.shape[3] - 1 - eyes[..., 0]
            return image.flip(3), eyes
        """),
    "faces-memory": ("answer = (..., ...)", "answer = (200_000 * 3 * 64 * 64 / 1e9, 200_000 * 3 * 64 * 64 * 4 / 1e9)"),
    "holes-known": (
        """
        def answer(pred, image, mask):
            return (mask * (pred - image).abs()).sum((1, 2, 3)) / mask.sum((1, 2, 3))
        """, """
        def answer(pred, image, mask):
            known = 1 - mask
            return (known * (pred - image).abs()).sum((1, 2, 3)) / (3 * known.sum((1, 2, 3)))
        """),
    "holes-psnr": (
        """
        def answer(fraction):
            return 0.0
        """, """
        import math
        def answer(fraction):
            return 10 * math.log10(1 / fraction)
        """),
    "holes-leak": (
        """
        import torch
        def answer(image, mask, fill):
            filled = image * (1 - mask) + mask * fill.view(1, 3, 1, 1)
            return torch.cat([filled, mask], 1)
        """, """
        import torch
        def answer(image, mask, fill):
            filled = torch.where(mask > 0.5, fill.view(1, 3, 1, 1), image)
            return torch.cat([filled, mask], 1)
        """),
    "holes-constant": ("answer = (..., ...)", "answer = (0.7 * 0.8 + 0.3 * -0.6, 0.8)"),
    "training-frozen": (
        """
        import torch
        def answer(G, D, z):
            loss_G = torch.nn.functional.softplus(-D(G(z))).mean()
            loss_G.backward()
        """, """
        import torch
        def answer(G, D, z):
            D.requires_grad_(False)
            loss_G = torch.nn.functional.softplus(-D(G(z))).mean()
            loss_G.backward()
            D.requires_grad_(True)
        """),
    "training-bce-optimum": (
        """
        def answer(p_data, p_g):
            return 0.5
        """, """
        def answer(p_data, p_g):
            return p_data / (p_data + p_g)
        """),
    "training-ema-halflife": (
        """
        def answer(decay):
            return 1 / (1 - decay)
        """, """
        import math
        def answer(decay):
            return math.log(0.5) / math.log(decay)
        """),
    "training-saturating": (
        """
        def answer(a):
            return 0.0, 0.0
        """, """
        import math
        def answer(a):
            return -1 / (1 + math.exp(-a)), -1 / (1 + math.exp(a))
        """),
    "training-resume": (
        "answer = {...}",
        'answer = {"network weights", "optimiser moments", "averaged weights", "random state", "step number"}'),
}
