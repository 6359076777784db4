"""Every method, the same faces -> one table, and a report that names how it was made.

The benchmark of completion is `evaluate`, that of super-resolution `upscaling.evaluate`. How well the latents of a face are
found is measured by `recovery.evaluate`, how well it is edited by `editing.evaluate`; for whom methods err, by `people.evaluate`.
"""

from facelib.evaluate.benchmark import HELD_OUT, agrees, evaluate, held_out, interval, judge, main, measure
from facelib.evaluate.entry import entrants
from facelib.evaluate.report import save, table
from facelib.pretrained import hardware

__all__ = ["HELD_OUT", "agrees", "entrants", "evaluate", "hardware", "held_out", "interval", "judge", "main",
           "measure", "save", "table"]
