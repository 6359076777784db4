"""Long runs: where they lie, so that they outlast a machine that is lent for some hours, and how Ctrl-C stops them."""

import contextlib
import os
import signal
import sys
from pathlib import Path

DRIVE = Path("/content/drive")  # where Colab shows its reader's Google Drive


def run_folder(name):
    """The folder of the run `name` -> Path, which `fit` makes where it is not there yet.

    It lies in the folder that the environment variable FACELIB_RUNS names. Without it, on Colab, that is `facelib-runs` in
    the reader's Google Drive, which Colab asks leave to show; elsewhere, `runs` in the current folder.
    """
    if os.environ.get("FACELIB_RUNS"):
        return Path(os.environ["FACELIB_RUNS"]).expanduser().absolute() / name
    if "google.colab" in sys.modules and not (DRIVE / "MyDrive").is_dir():
        from google.colab import drive

        try:
            drive.mount(str(DRIVE))
        except Exception as error:  # the reader said no, or Drive did not answer; Colab has an error for each
            print(f"Google Drive was not shown ({error}): the run lies on Colab's own disk and is lost with it; run this again "
                  "and allow Drive, or set FACELIB_RUNS to another folder")
    # Also for a command that was started from a cell: it cannot ask, but sees what has been shown.
    return (DRIVE / "MyDrive" / "facelib-runs" if (DRIVE / "MyDrive").is_dir() else Path("runs")) / name


class Interrupt:
    """Turns Ctrl-C into a wish, so that a step is never cut in half; the loop asks `wanted` after each step."""

    def __enter__(self):
        self.wanted, self.before = False, None
        with contextlib.suppress(ValueError):                       # only the main thread may listen to signals
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, *_):
        if self.wanted:                                             # asked twice: the user will not wait
            raise KeyboardInterrupt
        self.wanted = True

    def __exit__(self, *_):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
