"""Every exception of the framework: one tree, one public path, a message that survives pickling."""

import inspect
import json
import pickle

import pytest
from celery.backends.base import Backend

import framework.errors
from framework.celery.app import App
from framework.errors import AlreadyQueued, FrameworkError, NoSocket, OverLimit
from framework.errors.base import message

PREPOSITIONS = {"above", "after", "at", "by", "for", "here", "in", "named", "of", "on", "under", "without"}


def subclasses(base):
    for each in base.__subclasses__():
        if each.__module__.startswith("framework."):
            yield each
            yield from subclasses(each)


ERRORS = sorted({FrameworkError, *subclasses(FrameworkError)}, key=lambda each: each.__name__)


def factories(error):
    return [name for name, value in vars(error).items() if isinstance(value, classmethod)]


FACTORIES = [(error, name) for error in ERRORS for name in factories(error)]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_exported_under_its_public_path(error):
    assert error.__name__ in framework.errors.__all__
    assert getattr(framework.errors, error.__name__) is error
    assert error.__module__ == "framework.errors"
    assert inspect.getdoc(error)


def test_all_that_is_exported_exists_and_is_in_order():
    assert framework.errors.__all__ == sorted(framework.errors.__all__, key=lambda name: (name.islower(), name))
    assert all(hasattr(framework.errors, name) for name in framework.errors.__all__)


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_survives_pickling_with_its_message(error):
    copy = pickle.loads(pickle.dumps(error("The queue is gone. Declare it.")))

    assert type(copy) is error
    assert copy.message == str(copy) == "The queue is gone. Declare it."


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_comes_back_from_a_worker_as_itself(error):
    app = App("errors", set_as_current=False, broker="sqlite:///unused.db", backend="cache+memory://")
    backend = Backend(app, serializer="json")

    sent = json.loads(json.dumps(backend.prepare_exception(error("The queue is gone."))))

    assert type(backend.exception_to_python(sent)) is error


@pytest.mark.parametrize(("error", "name"), FACTORIES)
def test_every_factory_is_named_by_a_preposition_and_has_a_docstring(error, name):
    assert name.split("_")[0] in PREPOSITIONS
    assert inspect.getdoc(getattr(error, name))


def test_attributes_of_an_error_survive_pickling_too():
    over = pickle.loads(pickle.dumps(OverLimit.of("contact", "5/minute", 41.3)))
    queued = pickle.loads(pickle.dumps(AlreadyQueued.by("build", "id-1")))
    malformed = pickle.loads(pickle.dumps(NoSocket.for_request(ValueError("no key"))))

    assert (over.retry_after, queued.id, malformed.status) == (41.3, "id-1", 400)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("It is full",), "It is full."),
        (("It is full.",), "It is full."),
        (("It is full", "no space"), "It is full: no space."),
        (("It is full", OSError("no space")), "It is full: no space."),
        (("It is full", OSError()), "It is full: OSError."),
        (("It is full", None), "It is full."),
        (("It is full", "is there space?"), "It is full: is there space?"),
    ],
)
def test_a_message_names_the_problem_and_its_cause(parts, text):
    assert message(*parts) == text


def test_a_message_ends_with_the_effect_and_the_fix():
    text = message("It is full", "no space", effect="Nothing was queued.", fix="Free some: df -h")

    assert text == "It is full: no space. Nothing was queued. Free some: df -h"
