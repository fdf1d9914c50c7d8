"""``ecounters state``."""

from __future__ import annotations

from pathlib import Path

import click

from streams.commands.common import settings_with
from streams.tools.run_to_end import run_to_end
from streams.tools.state.archive import read_archive
from streams.tools.state.beginnings import AS_IS, FROM_END, FROM_START
from streams.tools.state.exporting import export
from streams.tools.state.importing import import_state
from streams.tools.state.inspecting import repair as repair_faults
from streams.tools.state.inspecting import shown_log, survey

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def state() -> None:
    """Look into the saved state, check and repair it, copy it into a file and back.

    The state of all accounts is in the changelog, a Kafka topic with as many partitions as that of events. It is bound
    to one topic of events: the offsets in it mean something there only, and a worker refuses any other. To move it, to
    more partitions, another topic or another cluster, export it and import it.

    \b
    A backup, and another cluster:
        ecounters state export counters.state       workers are stopped
        ecounters state import counters.state --from-start

    \b
    A worker says that a partition waits for an entry that it cannot read:
        ecounters state check                       names the entries; workers may run
        ecounters state repair                      takes them out; workers may run

    `ecounters topics --grow N` adds partitions: it exports, alters the topics, and imports.
    """


@state.command("show")
def show() -> None:
    """Show what the state is bound to, and of each partition its size, position and watermark.

    It reads the whole changelog. Workers may run meanwhile.
    """
    settings = settings_with()
    for line in run_to_end(settings, survey(settings, checks=False)).show_lines():
        click.echo(line)


@state.command("check")
def check() -> int:
    """Read all entries, and name those that cannot be read, by partition, offset and key.

    Such an entry is foreign (another program wrote it), damaged, or of a newer release. It also names partitions with
    accounts that belong to another one: then partitions were added, and the state was not moved. Telephone numbers are
    masked. Workers may run meanwhile.

    Exit code 0: everything can be read. Exit code 1: something cannot.
    """
    settings = settings_with()
    found = run_to_end(settings, survey(settings, checks=True))
    for line in found.check_lines():
        click.echo(line)
    return 0 if found.sound else 1


@state.command("repair")
@click.option("--yes", is_flag=True, help="Do not ask.")
def repair(yes: bool) -> int:
    """Take out the entries that `check` names, after asking.

    What such an entry was of is lost; all others stay. A position is never taken out: without it all events would be
    counted again. One that somebody else took out is put back, while Kafka still has it. If the entries are of a newer
    release, run that release instead. Damaged records may have held anything, and stay.
    Workers may run: a partition with such an entry restores itself afterwards, within 10 s.

    Exit code 1: something is left that cannot be mended so.
    """
    settings = settings_with()
    found = run_to_end(settings, survey(settings, checks=True))
    for line in found.check_lines():
        click.echo(line)
    faults = found.repairable
    if faults:
        if not yes:
            click.confirm(f"Mend these {len(faults):,} entries?", abort=True, err=True)
        count = run_to_end(settings, repair_faults(settings, faults))
        click.echo(f"Mended {count:,} entries.")
    left = len(found.faults) > len(faults) or found.unreadable or found.misplaced or found.why_unbound
    return 1 if left else 0


@state.command("export")
@click.argument("file", type=_FILE)
def export_command(file: Path) -> None:
    """Write the whole state into FILE: packed, with a checksum, readable by you alone.

    Workers must be stopped. FILE has telephone numbers and accounts: keep it as safe as Kafka's own data. It can be
    imported here or elsewhere, for any number of partitions.

    \b
        ecounters state export counters-2026-03-01.state
    """
    settings = settings_with()
    exported = run_to_end(settings, export(settings, file))
    click.echo(f"Exported {exported.line} to {file}.")
    if not exported.was_bound:
        click.echo(f"The state did not say of which topic it is. It was taken for {shown_log(exported.binding.log)}.")


@state.command("import")
@click.argument("file", type=_EXISTING)
@click.option(
    FROM_START, "choice", flag_value=FROM_START, help="Another topic: it has only events that were not counted."
)
@click.option(FROM_END, "choice", flag_value=FROM_END, help="Another topic: all events that it has now were counted.")
@click.option(AS_IS, "choice", flag_value=AS_IS, help="Another topic: it is a mirror with the same offsets.")
@click.option(
    "--copy-rest",
    metavar="OLD_TOPIC",
    help="Publish what OLD_TOPIC has and was not counted to the topic of events first. With --from-start.",
)
def import_command(file: Path, choice: str | None, copy_rest: str | None) -> None:
    """Write the state in FILE into an empty changelog, and bind it to the topic of events.

    Workers must be stopped; `ecounters topics` has made the topics. They may have another number of partitions: each
    account goes to the partition that it has there. In the topic that the state has counted, counting goes on where it
    ended. Of another topic say from where on it is read.

    An import that was cut short can be begun again with the same command. Until it is whole no worker starts.

    \b
        ecounters state import counters.state
        ecounters state import counters.state --from-start
        export ECOUNTERS_TOPIC=events2 ECOUNTERS_APP_ID=app2
        ecounters state import counters.state --from-start --copy-rest events
    """
    if copy_rest and choice != FROM_START:
        raise click.UsageError(f"--copy-rest needs {FROM_START}")
    settings = settings_with()
    imported = run_to_end(settings, import_state(settings, read_archive(file), choice or "", copy_rest or ""))
    if imported.skipped:
        click.echo(f"{imported.skipped} partitions were there from an earlier try.")
    if copy_rest:
        click.echo(f"Copied {imported.copied:,} events of {copy_rest} that were not counted yet.")
    click.echo(f"Imported {imported.entries:,} entries into {imported.written} partitions of the changelog.")
    click.echo(f"The state is bound to {shown_log(imported.binding.log)}. Start the workers.")
