"""Starters and solutions of the exercises of the chapter on edited faces as training data."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "augmentation-penalty": ("answer = (..., ...)", "answer = (10.0, 5.0)"),
    "augmentation-leak": (
        """
        import torch
        def answer(people, learnt, source):
            return torch.isin(people[source], people[learnt])
        """, """
        def answer(people, learnt, source):
            return learnt[source]
        """),
    "augmentation-paired": (
        """
        def answer(a, b):
            people = a.shape[1]
            return ((a.mean(0).var() + b.mean(0).var()) / people) ** 0.5
        """, """
        def answer(a, b):
            people = a.shape[1]
            return (a - b).mean(0).std() / people ** 0.5
        """),
    "augmentation-direction": (
        """
        def answer(m, u, sigma, t):
            return m - t * u
        """, """
        def answer(m, u, sigma, t):
            along = (m @ u) * u
            return (m - along) / sigma ** 2 + along / (sigma ** 2 + t ** 2)
        """),
}
