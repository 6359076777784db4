"""Starters and solutions of the exercises of the chapter on BEGAN."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "began-equilibrium": ("answer = (..., ..., ..., ...)", "answer = (0.15, 0.003, 0.06, 0.12)"),
    "began-step": (
        """
        def answer(D, image, fake, k, gamma, k_step):
            error = lambda x: (D(x) - x).abs().mean()
            loss_D = error(image) - k * error(fake)
            loss_G = error(fake)
            k = k + k_step * (gamma * error(image) - error(fake))
            return loss_D, loss_G, k
        """, """
        def answer(D, image, fake, k, gamma, k_step):
            error = lambda x: (D(x) - x).abs().mean()
            loss_D = error(image) - k * error(fake.detach())
            loss_G = error(fake)
            k = k + k_step * (gamma * error(image) - error(fake)).item()
            return loss_D, loss_G, min(max(k, 0.0), 1.0)
        """),
    "began-gain": (
        """
        def answer(a, g):
            return 1 / g, 2 / g
        """, """
        def answer(a, g):
            return a / (4 * g), 1 / g
        """),
}
