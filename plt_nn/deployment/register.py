"""Puts the model of a run into MLflow's registry, unless that would replace a better one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from plt_nn.deployment.find_model import model_id_of
from plt_nn.errors import ConfigError
from plt_nn.tracking.tags import DATA, MODE, MONITOR, VALUE

_VALIDATION = f"{DATA}.validation"


class Registered(NamedTuple):
    """The version that the alias names now, whether it was made, and a sentence on how it compares with the last."""

    version: str
    is_new: bool
    comparison: str


def register(client: Any, model: Any, name: str, alias: str, force: bool = False) -> Registered:
    """Makes a model a version of a registered model, and gives it an alias.

    A model that is registered already gets no second version.

    Args:
        client: MLflow's client.
        model: MLflow's entry of the model.
        name: The registered model; made if there is none.
        alias: The alias, such as `champion`.
        force: Whether even a better model loses the alias.

    Raises:
        ConfigError: If the model that has the alias is better by the same metric on the same data.
    """
    versions = list(client.search_model_versions(f"name = '{name}'"))
    holder = _holder(client, name, alias, versions)
    comparison = "there was no such alias before"
    if holder is not None:
        if model_id_of(holder) == model.model_id:
            return Registered(holder.version, False, "it had the alias before")
        is_worse, comparison = compared(_tags(client, holder), model.tags, f"{name}@{alias} (version {holder.version})")
        if is_worse and not force:
            raise ConfigError(f"{comparison} Nothing was changed; --force replaces it anyway.")
    known = next((each for each in versions if model_id_of(each) == model.model_id), None)
    version = known or _new_version(client, model, name)
    client.set_registered_model_alias(name, alias, version.version)
    return Registered(version.version, known is None, comparison)


def compared(champion: Mapping[str, str], challenger: Mapping[str, str], name: str) -> tuple[bool, str]:
    """Whether a challenger is worse than what it would replace, and a sentence with the numbers of both.

    Models that were measured on other data or by another metric are not worse: they cannot be compared.

    Args:
        champion: The tags of the model that has the alias.
        challenger: The tags of the other one.
        name: What to call the champion.
    """
    theirs, ours = _number(champion), _number(challenger)
    numbers = f"{name} has {theirs}, the new one {ours}"
    if VALUE not in champion or VALUE not in challenger:
        return False, f"They cannot be compared: {numbers}."
    if champion.get(MONITOR) != challenger.get(MONITOR):
        return False, f"They cannot be compared, because they are the best by different metrics: {numbers}."
    digests = champion.get(_VALIDATION), challenger.get(_VALIDATION)
    if None in digests or digests[0] != digests[1]:
        return False, f"They cannot be compared, because they were measured on different validation data: {numbers}."
    sign = 1.0 if challenger.get(MODE) == "min" else -1.0
    is_worse = not sign * float(challenger[VALUE]) <= sign * float(champion[VALUE])  # NaN is worse
    return is_worse, f"On the same validation data {numbers}."


def _number(tags: Mapping[str, str]) -> str:
    return f"{tags[MONITOR]} {float(tags[VALUE]):.6g}" if VALUE in tags and MONITOR in tags else "no value"


def _holder(client: Any, name: str, alias: str, versions: list[Any]) -> Any:
    if not versions:
        return None
    aliases = client.get_registered_model(name).aliases
    return next((each for each in versions if str(each.version) == str(aliases.get(alias))), None)


def _tags(client: Any, version: Any) -> Mapping[str, str]:
    """The tags of the model that a version is of; none if that has been deleted, or was made by something else."""
    from mlflow.exceptions import MlflowException

    try:
        tags: Mapping[str, str] = client.get_logged_model(model_id_of(version)).tags
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return {}
    return tags


def _new_version(client: Any, model: Any, name: str) -> Any:
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)  # for this process: MLflow resolves the model's id there
    return mlflow.register_model(f"models:/{model.model_id}", name)
