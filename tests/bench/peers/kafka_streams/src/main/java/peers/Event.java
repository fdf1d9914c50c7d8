package peers;

import java.time.OffsetDateTime;
import java.util.Set;

/** The fields of an event that these counters depend on. Numbers may come as texts: Jackson makes both a String. */
final class Event {
    /** Types of events that these counters depend on. */
    static final Set<String> READ = Set.of(
            "call.started", "leg.ringing", "leg.answered", "leg.ended", "ivr.entered", "dtmf.received", "call.ended");

    String id;
    String type;
    String ts;
    String userId;
    String callId;
    String callType;
    String campaignId;
    String did;
    String legId;
    String outcome;
    String digits;
    String status;

    /** The ts in ms since the Unix epoch; it is RFC 3339 text or a number. */
    long ms() {
        return ts.indexOf('T') < 0 ? Long.parseLong(ts) : OffsetDateTime.parse(ts).toInstant().toEpochMilli();
    }
}
