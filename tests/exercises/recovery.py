"""Starters and solutions of the exercises of the chapter on finding a face in latent space."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "recovery-two-latents": ("answer = (..., ..., ...)", "answer = (0.4, 0.16, 0.64)"),
    "recovery-direction": (
        """
        import torch
        def answer(attributes, vector):
            found = []
            for has in attributes.T == 1:
                found.append(vector[has].mean(0) - vector[~has].mean(0))
            return torch.stack(found)
        """, """
        import torch
        def answer(attributes, vector):
            design = torch.cat([torch.ones(len(attributes), 1), attributes], 1)
            return torch.linalg.lstsq(design, vector).solution[1:]
        """),
    "recovery-pull": (
        """
        import torch
        def answer(A, x, pull):
            return torch.linalg.pinv(A) @ x
        """, """
        import torch
        def answer(A, x, pull):
            return torch.linalg.solve(A.T @ A + pull * torch.eye(A.shape[1]), A.T @ x)
        """),
}
