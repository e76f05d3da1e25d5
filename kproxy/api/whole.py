"""An answer without a stream: nothing is committed until the provider's whole body is believed."""

from kproxy.api.job import Job
from kproxy.dialect.base import ReplyFacts
from kproxy.dialect.flow import splice, untag
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.outcome import Ending
from kproxy.routing.plan import AttemptSpec
from kproxy.upstream.attempt import Attempt
from kproxy.upstream.execute import execute

__all__ = ["answer_whole"]


async def answer_whole(job: Job) -> None:
    """Carry out the plan and send one JSON answer. Raises what the caller is to be told."""

    async def begin(spec: AttemptSpec) -> tuple[AttemptSpec, Attempt, bytes, ReplyFacts]:
        attempt = await job.open(spec, stream=False)
        with job.ending(attempt):
            body = await attempt.read_whole()
            facts = attempt.endpoint.dialect.read_reply(body)
        return spec, attempt, body, facts

    spec, attempt, body, facts = await execute(job.plan, job.deadline, begin)
    attempt.finish()
    job.service.metrics.attempt(spec.model.provider, spec.model.id, Ending.COMPLETE)
    settlement = job.settle(attempt, spec, facts.usage, facts.text)
    body = splice(untag(body) if facts.tagged else body, job.extension(settlement))
    headers = [JSON_TYPE, *job.fields(attempt), *job.money_fields(settlement)]
    await job.exchange.respond(Answer(200, headers, body))
