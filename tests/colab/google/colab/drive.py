from pathlib import Path


def mount(mountpoint):
    """The real one asks the reader for leave. Its answer here is the environment's: a folder that can be made, or not."""
    Path(mountpoint, "MyDrive").mkdir(parents=True, exist_ok=True)
