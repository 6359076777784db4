"""The command line: `facelib train|complete|upscale|edit|generate|align|evaluate|study|publish|export|info`, also as
`python -m facelib ...`.

A mistake of the user's ends with one line on stderr and exit code 2, a failure (no memory, diverged, disk full) with 1,
Ctrl-C with 130. `python -X dev -m facelib ...` shows the traceback of what went wrong.
"""

import sys

from facelib.cli.measuring import evaluate, generate
from facelib.cli.photographs import align, complete, edit, upscale
from facelib.cli.training import export, info, publish, study, train
from facelib.cli.words import configure, numbers
from facelib.data.specs import load_data, parse_data
from facelib.extras import need

COMMANDS = {"train": train, "complete": complete, "upscale": upscale, "edit": edit, "generate": generate, "align": align,
            "evaluate": evaluate, "study": study, "publish": publish, "export": export, "info": info}
__all__ = [*COMMANDS, "COMMANDS", "configure", "load_data", "main", "numbers", "parse_data"]


def main(argv=None):
    """Run one command line (default: this process's) -> its exit code."""
    try:
        tyro = need("tyro")
        code = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="facelib", args=argv,
                                                    description="Completing and controlling faces.")
    except KeyboardInterrupt as stop:
        print(f"facelib: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130
    except (ValueError, ImportError, RuntimeError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        print(f"facelib: {error}", file=sys.stderr)
        wrong = (ValueError, ImportError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
        return 2 if isinstance(error, wrong) else 1
    return code or 0
