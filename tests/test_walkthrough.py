"""The recorded story: nineteen Lists of a real API server go to a real nginx, with requests after each of them."""

from collections.abc import Callable

from support.backends import Backends
from support.router import Router
from support.story import STORY, Stage


def test_story(router: Callable[..., Router], backends: Backends) -> None:
    """After every step of the story, each request gets the expected status and the expected Pods, and no others."""
    here, stage = router(), Stage(backends)
    for step, asks in STORY.items():
        here.serve(*stage.read(step))
        for ask in asks:
            answers = list(stage.ask(here, ask))
            assert {answer.status if answer else None for answer, _ in answers} == {ask.status}, (step, ask)
            names = {name for _, name in answers if name}
            assert len(names) == len(ask.pods.split()), (step, ask, names)
            assert all(any(name.endswith(short) for short in ask.pods.split()) for name in names), (step, ask, names)
            if ask.status == 200:
                assert {answer.told["uri"] for answer, _ in answers if answer} == {ask.sent or ask.uri}


def test_idle_steps_do_not_reload(router: Callable[..., Router], backends: Backends) -> None:
    """A step that changes no route leaves nginx's workers as they are."""
    here, stage = router(ENDPOINTS="reload"), Stage(backends)
    here.serve(*stage.read("005"))
    before = here.workers()
    here.serve(*stage.read("006"))
    assert here.workers() == before
    here.serve(*stage.read("007"))
    assert here.workers()
    assert not here.workers() & before
