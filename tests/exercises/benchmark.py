"""Starters and solutions of the exercises of the chapter that compares all methods."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "benchmark-whole-picture": ("answer = (..., ...)", "answer = (26.0206, 32.0412)"),
    "benchmark-sampling": (
        """
        def answer(psnr, a):
            return psnr
        """, """
        import math
        def answer(psnr, a):
            return psnr - 10 * math.log10(1 + a**2)
        """),
    "benchmark-paired": (
        """
        def answer(a, b):
            half = 1.96 * (a.var() / len(a) + b.var() / len(b)) ** 0.5
            middle = b.mean() - a.mean()
            return middle - half, middle + half
        """, """
        def answer(a, b):
            d = b - a
            half = 1.96 * d.std() / len(d) ** 0.5
            return d.mean() - half, d.mean() + half
        """),
}
