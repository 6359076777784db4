"""Starters and solutions of the exercises of the chapter on faces out of 8x8 pixels."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "enhance-three-decibels": ("answer = (..., ...)", "answer = (26.02, 23.01)"),
    "enhance-back-project": (
        """
        import torch.nn.functional as F
        def answer(image, low):
            lacks = low - F.avg_pool2d(image, 4)
            return image + F.interpolate(lacks, scale_factor=4, mode="bicubic")
        """, """
        import torch.nn.functional as F
        def answer(image, low):
            lacks = low - F.avg_pool2d(image, 4)
            return image + F.interpolate(lacks, scale_factor=4, mode="nearest")
        """),
    "enhance-code-game": (
        """
        import torch.nn.functional as F
        def answer(D, z, drawn):
            loss_D = F.softplus(-D(z)).mean() + F.softplus(D(drawn)).mean()
            loss_z = F.softplus(D(z)).mean()
            return loss_D, loss_z
        """, """
        import torch.nn.functional as F
        def answer(D, z, drawn):
            loss_D = F.softplus(-D(drawn)).mean() + F.softplus(D(z.detach())).mean()
            loss_z = F.softplus(-D(z)).mean()
            return loss_D, loss_z
        """),
    "enhance-how-many": (
        """
        def answer(total, pixels, levels):
            return levels ** (pixels - 1)
        """, """
        from math import comb
        def answer(total, pixels, levels):
            count = 0
            for over in range(pixels + 1):
                rest = total - over * levels
                if rest >= 0:
                    count += (-1) ** over * comb(pixels, over) * comb(rest + pixels - 1, pixels - 1)
            return count
        """),
    "enhance-line-up": ("answer = (..., ...)", "answer = (100.29, 0.003)"),
}
