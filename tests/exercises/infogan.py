"""Starters and solutions of the exercises of the chapter on codes that mean something."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "infogan-ceiling": ("answer = (..., ..., ...)", "answer = (2.164, 1.758, 1.391)"),
    "infogan-squares": (
        """
        def answer(mean, truth, s):
            return -(truth - mean).pow(2).sum(1).mean()
        """, """
        import math
        def answer(mean, truth, s):
            squares = (truth - mean) ** 2 / s ** 2 + math.log(2 * math.pi * s ** 2)
            return (math.log(2) - squares / 2).sum(1).mean()
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
