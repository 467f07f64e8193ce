"""Put an installed package into an archive of bytecode beside it, from which Python imports it; run in site-packages.

For packages of generated code that are large and hardly used. `archive.py PACKAGE [LEFT_OUT...]`: glob patterns of
modules that nothing imports; `__init__` modules stay.
"""

import compileall
import shutil
import sys
import zipfile
from pathlib import Path


def archive(package: str, left_out: list[str]) -> None:
    """Replace the folder `package` by `package.zip` and a `.pth` file that names it."""
    folder = Path(package)
    compileall.compile_dir(folder, quiet=1, legacy=True, optimize=2)
    useless = {found for pattern in left_out for found in folder.glob(pattern) if found.stem != "__init__"}
    with zipfile.ZipFile(f"{package}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for module in sorted(set(folder.rglob("*.pyc")) - useless):
            if "__pycache__" not in module.parts:
                packed.write(module)
    Path(f"{package}.pth").write_text(f"{package}.zip\n")
    shutil.rmtree(folder)


if __name__ == "__main__":
    archive(sys.argv[1], sys.argv[2:])
