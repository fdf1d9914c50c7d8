"""What ``ecounters run`` prints: how to use what runs, and one line of counters."""

from __future__ import annotations

from typing import Any, Final

from streams.local.simulated import USER
from streams.settings.table import Settings
from streams.web.paths import COUNTERS_PATHS, DASHBOARD_PATH

BEHIND_SHOWN_MS: Final = 2_000


def welcome(settings: Settings, url: str, token: str, simulate: bool) -> str:
    """What is where, and how the user's counters are asked for."""
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
        "Ctrl-C ends it; the data stays." + ("" if simulate else " No switches are simulated."),
        "",
    ]
    return "\n".join(lines)


def counters_line(answer: dict[str, Any], lag_ms: str) -> str:
    """An answer as a line. What may not fit into a narrow terminal is at its end."""
    if answer.get("status") != "success":
        return f"no answer: {answer.get('message')}"
    told = answer["message"]
    live = sorted(told["LCT"].items(), key=lambda item: (-item[1], item[0]))
    behind = f"  ({int(lag_ms) // 1000} s behind)" if int(lag_ms) > BEHIND_SHOWN_MS else ""
    return (
        f"calls {told['TC']:,}  answered {told['CNC']:,}  missed {told['MC']:,}  ghost {told['GHC']:,}{behind}  "
        f"live {sum(told['LCT'].values()):,}  in IVR {sum(told['LIVR'].values()):,}  "
        + " ".join(f"{kind} {count:,}" for kind, count in live)
    )
