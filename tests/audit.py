"""`make audit`: the locked packages that are shipped (all extras but `dev`) against the OSV database.

pip-audit cannot tell a database that is away from a broken one by its exit code; here that is a notice and no
failure, so that `make test` works where nothing but a package registry can be reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPORT = [
    *("export", "--frozen", "--no-emit-project", "--no-header", "--quiet"),
    *("--extra", "local", "--extra", "dataflow"),
]
_AWAY = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError", "ServiceError")


def audit(requirements: Path, options: Sequence[str] = ()) -> tuple[int, str]:
    """Exit code and sentence. `requirements`: pinned, with hashes. `options` are pip-audit's."""
    command = [
        *(Path(sys.executable).with_name("pip-audit"), "--requirement", requirements),
        *("--disable-pip", "--require-hashes", "--vulnerability-service", "osv"),
        *("--format", "json", "--progress-spinner", "off", "--timeout", "10", *options),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        last = (ended.stderr.strip().splitlines() or ["no output"])[-1]
        if any(name in ended.stderr for name in _AWAY):
            return 0, f"SKIPPED, the vulnerability database cannot be reached: {last[:120]}"
        return 1, f"pip-audit failed: {last}"
    found = [
        f"{package['name']} {package['version']}: {', '.join(known['id'] for known in package['vulns'])}"
        for package in packages
        if package.get("vulns")
    ]
    if found:
        return 1, "\n".join(["known vulnerabilities:", *found])
    return 0, f"no known vulnerability in {len(packages)} packages"


def main() -> None:
    """Audit what uv.lock pins."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        subprocess.run(
            [ROOT / ".uv/bin/uv", *EXPORT, "--output-file", requirements],
            cwd=ROOT,
            check=True,
            stdout=sys.stderr,
        )
        code, sentence = audit(requirements)
    print(f"audit: {sentence}")
    sys.exit(code)


if __name__ == "__main__":
    main()
