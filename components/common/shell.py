"""What every KFP shell has in common: the image it runs in, and nothing installed at start."""

import os
from typing import Any

IMAGE = os.environ.get("EXPANSE_IMAGE", "ghcr.io/expanse-platform/expanse-python:0.1.0")
SHELL: dict[str, Any] = {"base_image": IMAGE, "packages_to_install": [], "install_kfp_package": False}
