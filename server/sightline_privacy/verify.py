"""One verification: the calls, a rest, then the search of what they wrote; a result for each promise.

    begin of sources -> consent of the catalog -> calls -> rest -> sources and memory -> report
Rule: sources are searched last, so that every call of the verification has had its chance to leave something.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from sightline_client.grants import GrantSigner
from sightline_client.options import ClientOptions
from sightline_privacy.calls import Caller
from sightline_privacy.canary import Canary, make_canary
from sightline_privacy.checks import audit, defaults, disclosure, errors, grants, people, profiling, remains
from sightline_privacy.conversation import Conversation, Grants, converse
from sightline_privacy.marks import Marks
from sightline_privacy.memory import REST_S, forgotten
from sightline_privacy.promises import Promise
from sightline_privacy.report import Report, Result, not_checked
from sightline_privacy.sources import Sources

SETTLE_S = 1.0
"""Seconds after the last call for what is written a little later, such as spans."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The means of a verification. Each part that is missing leaves a promise unchecked."""

    options: ClientOptions
    sources: Sources
    other: ClientOptions | None = None
    """Another principal."""
    catalog: str = ""
    signer: GrantSigner | None = None
    quota: int = 0
    """Calls in a row after which the server must refuse; 0 checks no quota."""
    photo: Image.Image | None = field(default=None, repr=False)
    """The scene of the canary photo, so that the detector finds objects in it."""
    person_photo: bytes | None = field(default=None, repr=False)
    config: Path | None = None
    pid: int | None = None
    """The server's process, whose memory is searched; None leaves it out."""
    settle_s: float = SETTLE_S


async def verify(plan: Plan) -> Report:
    """The results of all promises. Raises `SightlineError` where the server cannot be searched at all."""
    canary = await asyncio.to_thread(make_canary, plan.photo)
    marks = Marks(canary)
    if isinstance(plan.options.token, str):
        marks.further.append(plan.options.token)
    plan.sources.begin()
    caller = Caller(plan.options)
    try:
        asker = grants.Asker(caller, canary, plan.catalog, plan.signer)
        mode = await grants.mode_of(asker)
        if mode is grants.Mode.REQUIRED and plan.signer is None:
            return unchecked([await defaults.off(caller, mode)], f"consent is required: {grants.NO_KEY}")
        made, results = await called(plan, asker, mode, marks)
    finally:
        await caller.close()
    await asyncio.sleep(plan.settle_s if plan.pid is None else max(plan.settle_s, REST_S))
    memory = None if plan.pid is None else await asyncio.to_thread(remembered, plan, plan.pid, canary)
    return await asyncio.to_thread(report_of, plan, marks, made, results, memory)


async def called(plan: Plan, asker: grants.Asker, mode: grants.Mode, marks: Marks) -> tuple[Conversation, list[Result]]:
    """The calls of all checks, and the results of those that the calls alone decide."""
    caller, canary, catalog = asker.caller, asker.canary, plan.catalog
    granted = grants_for(asker, mode, marks)
    made = await converse(caller, canary, marks, catalog, granted)
    results = [
        await profiling.same_for_all(plan.options, plan.other, canary, catalog, granted),
        disclosure.nothing_is_sponsored(made.answers, plan.config),
        errors.content_free(made, marks),
        await people.not_searched(caller, made, plan.person_photo, catalog, granted),
        *(await grants.check(asker, mode)),
        await defaults.off(caller, mode),
    ]
    grant = next(each for each in results if each.promise is Promise.GRANT)
    # Last: a caller that has used its quota up can make no other call.
    return made, [*results, await grants.no_sweep(asker, mode, grant, plan.quota)]


def remembered(plan: Plan, pid: int, canary: Canary) -> Result:
    """The result of the search of the memory."""
    return forgotten(pid, canary, make_canary(plan.photo))


def grants_for(asker: grants.Asker, mode: grants.Mode, marks: Marks) -> Grants:
    """Makes a grant for each search, where the catalog takes some; their signatures are marks."""
    if mode not in (grants.Mode.OPTIONAL, grants.Mode.REQUIRED) or asker.signer is None:
        return lambda sent: ""

    def grant(sent: bytes | tuple[bytes, ...]) -> str:
        text = asker.grant(sent)
        marks.further.append(text.rpartition(".")[2][:40])
        return text

    return grant


def report_of(plan: Plan, marks: Marks, made: Conversation, results: list[Result], memory: Result | None) -> Report:
    """The report, with the results about what remains of the calls."""
    found = remains.search(plan.sources, marks)
    facts = audit.facts_in_records(plan.sources, marks)
    return ordered(
        [
            *results,
            remains.minimisation(made, found, marks),
            remains.retention(found, memory),
            remains.erasure(found, facts, plan.sources),
            audit.recorded(made, plan.sources, facts),
        ]
    )


def unchecked(results: list[Result], reason: str) -> Report:
    """A report in which all promises but those of `results` are not checked."""
    known = {each.promise for each in results}
    return ordered([*results, *(not_checked(promise, reason) for promise in Promise if promise not in known)])


def ordered(results: list[Result]) -> Report:
    """The report of results in any order."""
    order = list(Promise)
    return Report(tuple(sorted(results, key=lambda each: order.index(each.promise))))
