"""Refusals: what a region answers when it does not do what it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.maas_simulator.answer import JSON, TEXT, TEXT_PLAIN, Answer


class RefusedError(Exception):
    """Raised anywhere below a handler; the router turns it into the answer it carries."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body!r}")
        self.answer = answer


def form_errors(errors: Mapping[str, Sequence[str]]) -> RefusedError:
    """400 with `{"field": ["message"]}`; cross-field messages stand under `__all__`."""
    return RefusedError(Answer.json({key: list(value) for key, value in errors.items()}, status=400))


def bad_request(text: str) -> RefusedError:
    """400 as text."""
    return RefusedError(Answer(400, text, TEXT))


def conflict(text: str) -> RefusedError:
    """409: the state of the object does not allow it."""
    return RefusedError(Answer(409, text, TEXT))


def forbidden() -> RefusedError:
    """403 with nothing: locked, or not the owner's."""
    return RefusedError(Answer(403, "", TEXT))


def missing(model: str) -> RefusedError:
    """404 of Django's get_object_or_404."""
    return RefusedError(Answer(404, f"No {model} matches the given query.", TEXT_PLAIN))


def not_simulated(what: str) -> RefusedError:
    """501 that names what a real region would do here and this one does not."""
    return RefusedError(Answer.json({"error": "not simulated", "operation": what}, status=501, content_type=JSON))
