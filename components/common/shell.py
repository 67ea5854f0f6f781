"""What every KFP shell has in common: nothing is installed at start, and the image is chosen when the graph is built.

``base_image`` is a placeholder that KFP asks for: pipelines/platform.py gives every task the image of its role.
"""

from typing import Any

SHELL: dict[str, Any] = {"base_image": "python:3.11-slim", "packages_to_install": [], "install_kfp_package": False}
