"""Training that outgrows one GPU: a step that creates a Kubeflow TrainJob, follows it and takes its result.

The step's own pod is a small launcher without a GPU. Its environment variable EXPANSE_TRAINJOB holds a TrainJobSpec as
JSON; EXPANSE_RUN holds the id of the pipeline run, by which the clean-up of a run finds the job. See docs/training.md.
"""

from components.common.cluster import RUN
from components.common.trainjobs.launching import launch
from components.common.trainjobs.spec import TRAINJOB, ConfigMapKey, Scratch, SecretKey, Toleration, TrainJobSpec

__all__ = ["RUN", "TRAINJOB", "ConfigMapKey", "Scratch", "SecretKey", "Toleration", "TrainJobSpec", "launch"]
