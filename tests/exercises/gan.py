"""Starters and solutions of the exercises of the chapter on a generator and its critic."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "gan-checkerboard": ("answer = (..., ..., ..., ...)", "answer = (9, 4, 9, 9)"),
    "gan-batch-spread": (
        """
        import torch
        def answer(x):
            return torch.cat([x, x.mean(1, keepdim=True)], 1)
        """, """
        import torch
        def answer(x):
            spread = x.std(0, unbiased=False).mean()
            return torch.cat([x, spread.expand(len(x), 1)], 1)
        """),
    "gan-smoothing": (
        """
        def answer(p_data, p_g, real, fake):
            return real * p_data / (p_data + p_g)
        """, """
        def answer(p_data, p_g, real, fake):
            return (real * p_data + fake * p_g) / (p_data + p_g)
        """),
}
