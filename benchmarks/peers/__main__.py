"""`python -m benchmarks.peers`, which is `make peers`: install what can be installed, and say loudly what cannot, and why.

Everything goes into benchmarks/build/peers. What the lock files name is what is installed.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.catalogue import INSTALLED, PEERS

_HERE = Path(__file__).parent


class Skipped(Exception):
    """Some peers cannot be installed here; the message says why."""


def install_python() -> None:
    """Make a virtual environment with the peers in Python."""
    folder = INSTALLED / "venv"
    venv.create(folder, with_pip=True, clear=True)
    arguments = ("install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:")
    _run([str(folder / "bin" / "python"), "-m", "pip", *arguments, "-r", str(_HERE / "requirements.txt")])


def install_node() -> None:
    """Copy the peers on node, and install what they need."""
    npm = _found("npm")
    folder = INSTALLED / "node"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_HERE / "node", folder)
    try:
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    except Skipped:
        shutil.rmtree(folder)  # what is there counts as installed
        raise


def install_go() -> None:
    """Build the peers in Go."""
    _run(
        [_found("go"), "build", "-mod=readonly", "-o", f"{INSTALLED}{os.sep}", "./nats", "./jetstream", "./centrifuge"],
        _HERE / "go",
    )


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Skipped(f"there is no {program} on the PATH")
    return path


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Skipped(f"{' '.join(command)} failed:\n{done.stdout.strip()[-2000:]}")


def main() -> None:
    """Install all that can be."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name, install in (("in Python", install_python), ("on node", install_node), ("in Go", install_go)):
        print(f"Installing the peers {name} ...", flush=True)
        try:
            install()
        except Skipped as reason:
            print(f"\nSKIPPED: the peers {name}. {reason}\n", file=sys.stderr, flush=True)
    there = [peer.key for peer in PEERS if peer.is_installed]
    missing = [peer.key for peer in PEERS if not peer.is_installed and not peer.key.startswith("floor")]
    print(f"Installed: {', '.join(there)}. The floor is compiled by the benchmark itself.")
    if missing:
        print(f"NOT installed, and so not measured: {', '.join(missing)}", file=sys.stderr)


if __name__ == "__main__":
    main()
