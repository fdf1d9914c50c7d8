"""What ``ecounters run`` prints: how to use the running worker, and a line with its present counters."""

from __future__ import annotations

from typing import Any, Final

from ecounters.errors import DENIED
from streams.local.simulated import USER
from streams.settings.table import Settings
from streams.web.paths import COUNTERS_PATHS, DASHBOARD_PATH

BEHIND_SHOWN_MS: Final = 2_000
"""``counters_line`` mentions a worker's lag only if it is longer than this."""


def welcome(settings: Settings, url: str, token: str, simulate: bool) -> str:
    """The text that is printed when everything runs: addresses, USER's token, and two lines for a shell.

    The first line is a curl command that queries the counters. The second exports the settings by which other commands
    reach the embedded broker and store, whose ports are chosen anew in each run, and the worker, whose port may be
    another than the usual one. ``url``: the worker's address. ``simulate``: switches are simulated.
    """
    body = f'{{"userId":"{USER}","token":"{token}"}}'
    lines = [
        "",
        "Ecounters is running.",
        "",
        f"  address   {url}",
        f"  dashboard {url}{DASHBOARD_PATH}",
        f"  user      {USER}",
        f"  token     {token}",
        f"  broker    {settings.broker}, events go to the topic {settings.topic}",
        f"  data      {settings.data_dir}, logs in {settings.data_dir / 'log'}",
        "",
        "Ask for the counters:",
        "",
        f"  curl -s -d '{body}' {url}{COUNTERS_PATHS[0]}",
        "",
        "Let other commands use this broker, store and worker, in another terminal:",
        "",
        f"  export ECOUNTERS_BROKER={settings.broker} ECOUNTERS_REDIS={settings.redis} ECOUNTERS_PORT={settings.port}",
        "",
        "Ctrl-C ends it; the data stays." + ("" if simulate else " No switches are simulated."),
        "",
    ]
    return "\n".join(lines)


def counters_line(reply: dict[str, Any], lag_ms: str) -> str:
    """A worker's reply as one line: counters, or an error message. ``lag_ms``: the header X-Ecounters-Lag-Ms.

    The least important counters come last, because a narrow terminal truncates the line.
    """
    if reply.get("code") == DENIED:
        return f"no answer: the token above is no longer that of {USER}; to see counters here, start again"
    if reply.get("status") != "success":
        return f"no answer: {reply.get('message')}"
    counters = reply["message"]
    live_by_type = sorted(counters["LCT"].items(), key=lambda item: (-item[1], item[0]))
    behind = f"  ({int(lag_ms) // 1000} s behind)" if int(lag_ms) > BEHIND_SHOWN_MS else ""
    return (
        f"calls {counters['TC']:,}  answered {counters['CNC']:,}  missed {counters['MC']:,}  "
        f"ghost {counters['GHC']:,}{behind}  live {sum(counters['LCT'].values()):,}  "
        f"in IVR {sum(counters['LIVR'].values()):,}  "
        + " ".join(f"{call_type} {count:,}" for call_type, count in live_by_type)
    )
