"""Models served under KServe: brought up for a step that needs one, found again by its retry, taken down at the end."""

from components.common.inference.bring_up import BringUp, brought_up, preflight
from components.common.inference.objects import storage_uri
from components.common.inference.waiting import Patience

__all__ = ["BringUp", "Patience", "brought_up", "preflight", "storage_uri"]
