"""A machine like Colab's, on which tests/test_colab.py plays "Run all" with every chapter.

`machine()` makes it, once: _build/colab/machine, an environment of Python 3.12 with the packages that Colab brings, in its
versions (colab_packages.txt). A `Session` is what a reader gets who opens a chapter: an environment that sees those packages
and installs its own beside them, an empty home, Colab's own package, and a git for which the book's public address is the
copy that `publish` makes.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = Path(__file__).with_name("colab_packages.txt")
STAND_IN = ROOT / "tests" / "colab"  # holds google/colab


def run(*command, **options):
    """subprocess.run that returns what was printed, or raises RuntimeError with it."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))[:200]} failed with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def interpreter():
    """A Python that runs and can make environments: this one, one in PATH, or one of pyenv's -> (path, version), or None.

    Colab has 3.12; where there is none, 3.11 has to do, the only other one for which all of Colab's packages are there.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for version in ("3.12", "3.11"):
        found = [sys.executable, shutil.which(f"python{version}"), *sorted(pyenv.glob(f"versions/{version}*/bin/python"))]
        question = f"import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
        for path in filter(None, found):
            # Tried, for a name in PATH may be a script of pyenv's that finds no such version.
            if not subprocess.run([path, "-c", question], capture_output=True).returncode:
                return Path(path), version
    return None


def machine(python):
    """The environment with Colab's packages: made where there is none for this list and Python -> its interpreter.

    The first time it takes some minutes and, on Linux, 6 GB, most of it PyTorch's CUDA libraries.
    """
    home = ROOT / "_build" / "colab" / "machine"
    key = home / f".made-{zlib.crc32(PACKAGES.read_bytes() + str(python).encode())}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)                # tests run in several processes: one makes it, the others wait
        if not key.exists():
            shutil.rmtree(home, ignore_errors=True)
            run(python, "-m", "venv", home)
            run(home / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", PACKAGES)
            key.touch()
    return home / "bin" / "python"


def publish(folder):
    """A repository with one commit, of the files that git tracks here as they are on disk -> its file:// address."""
    origin = folder / "origin.git"
    run("git", "init", "-q", "--bare", "--initial-branch=main", origin)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    git = "git", f"--git-dir={origin}", f"--work-tree={ROOT}", "-c", "user.name=facelib", "-c", "user.email=facelib@localhost"
    subprocess.run([*git, "update-index", "--add", "--remove", "-z", "--stdin"], cwd=ROOT, input=listed, check=True)
    run(*git, "commit", "-q", "-m", "the book as it is here", cwd=ROOT)
    return origin.as_uri()


class Session:
    """A fresh machine for one chapter, in a folder of its own that is removed at the end of a `with`.

    python: its interpreter. env: its environment variables. kernel: the name of its Jupyter kernel, for who has `env`.
    """

    kernel = "colab"

    def __init__(self, machine, address, origin):
        self.place = tempfile.TemporaryDirectory(prefix="facelib-colab-")
        folder = self.folder = Path(self.place.name)
        run(machine, "-m", "venv", "--without-pip", folder / "env")
        self.python = folder / "env" / "bin" / "python"
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        seen, own = run(machine, "-c", code).strip(), run(self.python, "-c", code).strip()
        Path(own, "colab.pth").write_text(f"{seen}\n{STAND_IN}\n")

        home = folder / "home"
        files = {
            # To fetch the book from its public address is to fetch this copy of it.
            home / ".gitconfig": f'[url "{origin}"]\n    insteadOf = {address}\n',
            home / ".ipython/profile_default/ipython_config.py":
                'get_config().InteractiveShellApp.extensions = ["google.colab"]\n',
            folder / f"jupyter/kernels/{self.kernel}/kernel.json": json.dumps({
                "argv": [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Colab", "language": "python"}),
        }
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        # Nothing of the user's is seen but where packages come from; and no data.
        dropped = "FACELIB_", "JUPYTER_", "IPYTHON", "PYTHON", "VIRTUAL_ENV", "MPL", "XDG_", "GIT_"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        self.env |= {"HOME": str(home), "PATH": f"{folder / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}",
                     "JUPYTER_PATH": str(folder / "jupyter")}
        pip = Path.home() / ".cache" / "pip"
        self.env.setdefault("PIP_CACHE_DIR", str(pip))
        settings = [path for path in (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf") if path.exists()]
        if settings:
            self.env.setdefault("PIP_CONFIG_FILE", str(settings[0]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.place.cleanup()

    def run(self, *command):
        """Run the session's Python with these arguments -> what it printed."""
        return run(self.python, *command, env=self.env, cwd=self.folder)

    def versions(self):
        """name -> version of every package that an import would find."""
        code = ("import json; from importlib.metadata import distributions, version; "
                "print(json.dumps({d.name: version(d.name) for d in distributions()}))")
        return json.loads(self.run("-c", code))

    def conflicts(self):
        """What `pip check` finds wrong, a set of lines."""
        done = subprocess.run([self.python, "-m", "pip", "check"], env=self.env, capture_output=True, text=True)
        return set(done.stdout.splitlines()) if done.returncode else set()
