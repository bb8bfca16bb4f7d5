"""Every MLflow tag of a run and every name among its artifacts, named once. Imports nothing.

Store and spool name their own files: `Store` and `SpoolFolder`.
"""

# -- tags of a run ----------------------------------------------------------------------------------------------------

UID = "plt_nn.uid"  # the run's own name, known before MLflow gives an id; also a tag of the run's model
PARENT_UID = "plt_nn.parent"
FAILURE = "plt_nn.failure"  # why the run ended early; `FAILURE/1` and so on for the attempts before a resume
RESUMES = "plt_nn.resumes"  # how often it was resumed
LOST_ROWS = "plt_nn.lost_rows"  # rows of metrics that could not be written
NOT_DEPLOYABLE = "plt_nn.not_deployable"  # why its model is only a file of weights
HOST, DEVICES = "host", "devices"
COMMAND, PYTHON, PLATFORM = "command", "python", "platform"
SEED, SLURM_JOB = "seed", "slurm/job_id"
GIT_COMMIT, GIT_DIRTY = "git/commit", "git/dirty"

# Each followed by a name, such as `version/torch`.
VERSION = "version/"  # of a package
PHASE = "phase/"  # what a phase of a freezing schedule trains
RENAMED = "renamed/"  # the original of a name that MLflow does not accept
CHANGED = "changed/"  # the new value of a parameter: MLflow's parameters are immutable
NOT_FINITE = "not_finite/"  # a metric's first infinite value, which MLflow shows as NaN
SAME_AS = "same_as/"  # the artifact with the same content as this one

# -- tags of a run and of its model -----------------------------------------------------------------------------------

MONITOR, MODE = "plt_nn.monitor", "plt_nn.mode"  # the metric that chooses the best weights; `min` or `max`
VALUE, STEP = "plt_nn.value", "plt_nn.step"  # what the model has reached, and when
DATA = "plt_nn.data"  # `plt_nn.data.validation`: the digest of a data set
SHA256 = "plt_nn.sha256"  # of the model's weights

# -- MLflow's own tags ------------------------------------------------------------------------------------------------

NOTE = "mlflow.note.content"
PARENT_RUN = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
USER = "mlflow.user"
SOURCE_NAME, SOURCE_TYPE, SOURCE_COMMIT = "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"
DATA_CONTEXT = "mlflow.data.context"  # of a data set: `training`, `validation`

# -- prefixes of metrics ----------------------------------------------------------------------------------------------

SYSTEM = "system/"  # how a machine is used; the step is the seconds since the run began
BEST = "best/"  # what the best weights have reached

# -- artifacts of a run -----------------------------------------------------------------------------------------------

CONFIG_FILE = "config.yaml"
DIFF_FILE = "git.diff"
REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.json"
PLAN_FILE = "freezing_plan.md"
FIGURES = "figures"
FIGURES_FACTS = f"{FIGURES}/validation.json"
CHECKPOINTS = "checkpoints"
