"""Starters and solutions of the exercises of the chapter on semantic inpainting."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "semantic-weights": ("answer = (..., ...)", "answer = (6 * 32 + 6 * 32 + 4 * 9, 3 * 7 / 49)"),
    "semantic-clip": (
        """
        def answer(z, gradient, lr):
            z = z - lr * gradient
            z.clamp(-1, 1)
            return z
        """, """
        def answer(z, gradient, lr):
            return (z - lr * gradient).clip(-1, 1)
        """),
    "semantic-prior": (
        """
        import torch
        def answer(logit):
            return torch.stack([-logit.sigmoid(), -logit.sigmoid()], -1)
        """, """
        import torch
        def answer(logit):
            logit = logit.detach().requires_grad_()
            terms = -torch.nn.functional.softplus(logit), torch.nn.functional.softplus(-logit)
            return torch.stack([torch.autograd.grad(term.sum(), logit)[0] for term in terms], -1)
        """),
}
