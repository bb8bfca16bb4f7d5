"""What is tried again, and when."""

from itertools import islice
from typing import Any

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

from plt_nn.tracking.upload.retry_rule import LONGEST, is_refused, pauses


def test_pauses_grow_and_stay_short_enough_to_notice_a_server_that_is_back() -> None:
    found = list(islice(pauses(), 30))
    assert 0.1 < found[0] <= 0.25
    assert all(pause <= LONGEST for pause in found)
    assert min(found[10:]) >= LONGEST / 2
    assert len(set(found)) > 25, "with jitter"


def answer(code: str, message: str) -> Exception:
    """What MLflow's client raises for an answer in MLflow's own form."""
    made: Any = RestException
    error: Exception = made({"error_code": code, "message": message})
    return error


@pytest.mark.parametrize("code", [INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST])
def test_what_mlflow_refuses(code: int) -> None:
    assert is_refused(MlflowException("no", error_code=code), is_http=False)
    assert not is_refused(MlflowException("no", error_code=code), is_http=True), "a proxy may have said so"
    assert is_refused(answer(MlflowException("", error_code=code).error_code, "no"), is_http=True)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("database is locked", error_code=INTERNAL_ERROR),
        answer("PERMISSION_DENIED", "401"),
        answer("TEMPORARILY_UNAVAILABLE", "503"),
        requests.ConnectionError("refused"),
        TimeoutError(),
        KeyError("anything"),
    ],
)
def test_what_may_pass(error: Exception) -> None:
    assert not is_refused(error, is_http=True)
    assert not is_refused(error, is_http=False)
