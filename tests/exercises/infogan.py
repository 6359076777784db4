"""Starters and solutions of the exercises of the chapter on codes that mean something."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "infogan-ceiling": ("answer = (..., ..., ...)", "answer = (2.164, 1.758, 1.391)"),
    "infogan-matching": (
        """
        def answer(found, truth):
            right = sum((truth[found == k] == truth[found == k].mode().values).sum() for k in found.unique())
            return right / len(truth)
        """, """
        import numpy as np
        from scipy.optimize import linear_sum_assignment
        def answer(found, truth):
            table = np.zeros((10, 10))
            np.add.at(table, (found.numpy(), truth.numpy()), 1)
            return table[linear_sum_assignment(table, maximize=True)].sum() / len(truth)
        """),
    "infogan-whisper": (
        """
        import math
        def answer(pixels, amplitude, power):
            return math.erfc(amplitude / math.sqrt(2 * power)) / 2
        """, """
        import math
        def answer(pixels, amplitude, power):
            return math.erfc(amplitude * math.sqrt(pixels / (2 * power))) / 2
        """),
}
