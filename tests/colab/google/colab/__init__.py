"""What the tests put in the place of Colab's own package: its names that this book uses. Loaded into a kernel at its start."""

from google.colab import drive, files, output

__all__ = ["drive", "files", "output"]


def load_ipython_extension(shell):
    """A kernel on Colab has this package before the first cell runs; IPython's configuration names it as an extension."""
