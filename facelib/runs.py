"""Where long runs lie, so that they outlast a machine that is lent for some hours."""

import os
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
