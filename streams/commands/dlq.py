"""``ecounters dlq``."""

from __future__ import annotations

from typing import BinaryIO

import click

from ecounters.errors import REASONS
from streams.basics.times import duration_s, moment_ms, now_ms
from streams.commands.common import settings_with
from streams.settings.table import Settings
from streams.tools.dead_letter_report import UNKNOWN, sample_lines, table_lines
from streams.tools.dead_letters import Selection, Survey, nothing_selected, replay, survey
from streams.tools.run_to_end import run_to_end


def _since(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """click callback: a time ago such as 90s, 30m, 2h or 1d, or RFC 3339 with an offset -> ms since 1970."""
    if text is None:
        return None
    if (ago_s := duration_s(text)) is not None:
        return max(0, now_ms() - ago_s * 1000)
    moment = moment_ms(text)
    if moment is None:
        raise click.BadParameter(f"{text!r} is no time such as 30m, 2h, 1d or 2026-03-01T09:00:00+05:30")
    return max(0, moment)


def _reason(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """click callback: refuse a reason that no worker gives, so that a mistyped one does not look like good news."""
    if text is not None and text not in (*REASONS, UNKNOWN):
        raise click.BadParameter(f"{text!r} is no reason; there are {', '.join(REASONS)}")
    return text


@click.command()
@click.option("--since", callback=_since, help="Refused since then: 30m, 2h or 1d ago, or RFC 3339.  [default: all]")
@click.option("--reason", callback=_reason, help="Only those that were refused for this reason.")
@click.option("--user", help="Only those of this user's events.")
@click.option("--id", "event_id", help="Only those of the event with this id.")
@click.option("--partition", type=click.IntRange(0), help="Only those whose events came from this partition.")
@click.option(
    "--samples", type=click.IntRange(0, 1_000), default=3, show_default=True, help="Samples of each reason and field."
)
@click.option(
    "--out", type=click.File("wb"), help="Write the messages to this file too, one a line; - is standard output."
)
@click.option("--replay", "again", is_flag=True, help="Publish the messages to the topic of events again.")
@click.option("--yes", is_flag=True, help="Do not ask before --replay.")
def dlq(
    since: int | None,
    reason: str | None,
    user: str | None,
    event_id: str | None,
    partition: int | None,
    samples: int,
    out: BinaryIO | None,
    again: bool,
    yes: bool,
) -> None:
    """Show the dead letters by reason and field; --replay publishes them again.

    A dead letter is an event that a worker refused. Below the counts come, for each reason and field, what the reason
    means and the newest messages: topic/partition/offset of the event, when it was refused, and its beginning. Control
    characters are shown as escapes.

    \b
        ecounters dlq
        ecounters dlq --since 2h --reason clock_ahead --samples 10
        ecounters dlq --partition 3 --samples 0
        ecounters dlq --user acme --since 1d
        ecounters dlq --id 7f3a-0042

    Use --replay when the cause is gone: a clock was ahead, or the workers know a new type of event now. A message goes
    to the partition of its user, with its key. If no user can be read from it, it goes to the partition that it came
    from. A message that is refused again becomes another dead letter, once for each replay. A message that has been
    counted already, or that is replayed twice, does not change the counters. Dead letters stay in their topic until
    Kafka deletes them. A message that is truncated is left out, and so is a record batch that could not be read.

    \b
        ecounters dlq --reason clock_ahead --since 1d --replay
        ecounters dlq --replay --yes

    Use --out to correct messages by hand. Messages that are empty, truncated or have line breaks are left out and
    counted.

    \b
        ecounters dlq --reason bad_value --out bad.jsonl
        sed 's/"callType":"INB"/"callType":"IBD"/' bad.jsonl | ecounters replay -
    """
    if yes and not again:
        raise click.UsageError("--yes is for --replay")
    settings, selection = settings_with(), Selection(reason, partition, since, user, event_id)
    result = run_to_end(settings, survey(settings, selection, samples, out))
    # If the messages go to standard output, the report goes to standard error.
    _show(result, settings.dlq_topic, selection, to_stderr=out is not None and out.name in ("-", "<stdout>"))
    if again and result.count:
        _replay(settings, result, selection, confirmed=yes)


def _show(result: Survey, topic: str, selection: Selection, *, to_stderr: bool) -> None:
    """Print counts and samples of dead letters, or that there are none; and how many were not written to the file."""
    lines = [*table_lines(result.groups), *sample_lines(result.groups)]
    for line in lines or [nothing_selected(topic, result, selection)]:
        click.echo(line, err=to_stderr)
    if result.unwritten:
        left_out = f"{result.unwritten:,} messages are empty, truncated or have line breaks and were not written."
        click.echo(left_out, err=True)


def _replay(settings: Settings, result: Survey, selection: Selection, *, confirmed: bool) -> None:
    """Publish the surveyed dead letters again and print how many on stderr.

    Asks the person first unless ``confirmed``; raises click.Abort if the reply is no.
    """
    if not confirmed:
        click.confirm(f"Publish these {result.count:,} messages to {settings.topic} again?", abort=True, err=True)
    replayed = run_to_end(settings, replay(settings, result.span, selection))
    click.echo(f"Published {replayed.published:,} messages to {settings.topic} again.", err=True)
    if replayed.too_large:
        click.echo(f"{replayed.too_large:,} are larger than {settings.topic} takes and were left out.", err=True)
    if replayed.not_whole:
        click.echo(f"{replayed.not_whole:,} are truncated, or could not be read at all, and were left out.", err=True)
