"""Starters and solutions of the exercises of the chapter on completion without learning."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "classical-line": ("answer = (..., ..., ...)", "answer = (0.2, 1.6, 1.6)"),
    "classical-relax": (
        """
        def answer(image, mask):
            return image * (1 - mask)
        """, """
        import torch
        import torch.nn.functional as F
        def answer(image, mask):
            padded = F.pad(torch.where(mask > 0.5, 0.0, image), (1, 1, 1, 1), mode="replicate")
            mean = (padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]) / 4
            return torch.where(mask > 0.5, mean, image)
        """),
    "classical-rank": (
        """
        def answer(A, B, C):
            return C @ A.T @ B
        """, """
        import torch
        def answer(A, B, C):
            return C @ torch.linalg.pinv(A, rtol=1e-4) @ B
        """),
}
