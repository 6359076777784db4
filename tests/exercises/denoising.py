"""Starters and solutions of the exercises of the chapter on the adversarial denoising autoencoder."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "denoising-weights": ("answer = (..., ..., ...)", "answer = (3840, 61440, 0.0625)"),
    "denoising-dynamic-x": (
        """
        def answer(costs, window, tolerance, factor):
            weight = 1.0
            for i in range(1, len(costs)):
                if costs[i] > (1 - tolerance) * costs[i - 1]:
                    weight = factor * weight
            return weight
        """, """
        def answer(costs, window, tolerance, factor):
            weight, before = 1.0, None
            for start in range(0, len(costs) - window + 1, window):
                mean = sum(costs[start:start + window]) / window
                fell = before is not None and mean > (1 - tolerance) * before
                weight, before = (factor * weight, None) if fell else (weight, mean)
            return weight
        """),
    "denoising-pooled-gradient": (
        """
        def answer(pred, image):
            return 2 * (pred - image)
        """, """
        import torch.nn.functional as F
        def answer(pred, image):
            block = F.avg_pool2d(pred - image, 4)
            return F.interpolate(block, scale_factor=4) * 2 / 16
        """),
}
