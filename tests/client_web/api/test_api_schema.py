"""Schemathesis against the whole API, in memory: whatever is asked, no failure of ours, and answers as documented."""

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

# It never ends, so that it is tried by itself (test_api_live.py).
ENDLESS = "/live"
# A parameter of whose type every text is.
ANY_TEXT = {"npub"}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_documented(app: FastAPI, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    asked: dict[str, int] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS:
            continue
        parameters = {parameter.name for parameter in operation.iter_parameters()}
        if mode is GenerationMode.NEGATIVE and parameters <= ANY_TEXT:
            continue

        @settings(
            max_examples=40 if parameters else 3,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            asked[case.operation.label] = asked.get(case.operation.label, 0) + 1
            # Text of the right shape need not be a key or an entry of ours: 400 and 404 are answers, too.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        ask()
    assert len(asked) == (20 if mode is GenerationMode.POSITIVE else 11)
    assert min(asked.values()) >= 1


def test_the_document_is_openapi_3_1_and_names_every_answer(app: FastAPI) -> None:
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    assert schema.raw_schema["openapi"].startswith("3.1")
    for path, methods in schema.raw_schema["paths"].items():
        method, good = ("post", "202") if path == "/attest" else ("get", "200")
        assert list(methods) == [method], path
        told = methods[method]
        assert told["description"], path
        assert "422" not in told["responses"]
        assert good in told["responses"]
