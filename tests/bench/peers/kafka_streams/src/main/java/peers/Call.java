package peers;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The join of a call's events, by the same definitions as tests/bench/peers/counting.py. */
final class Call {
    private static final long WINDOW_MS = 900_000;
    private static final int DIGITS_MAX = 4;

    /** A leg. answered: ts of the answer, or 0. */
    static final class Leg {
        boolean rang;
        long answered;
        boolean elsewhere;
    }

    long start;
    String type;
    String campaign;
    String did;
    long end;
    int status;
    boolean ivr;
    Map<String, Leg> legs = new HashMap<>();
    /** id of a DTMF input -> what is counted of it. */
    Map<String, String> inputs = new HashMap<>();

    /** The start of the window in which a call that has started is counted. */
    long window() {
        return start / WINDOW_MS * WINDOW_MS;
    }

    /** Add an event. Returns counter -> change. */
    Map<String, Integer> apply(Event event) {
        boolean hadStart = start != 0;
        List<String> before = outcome();
        String input = join(event);
        Map<String, Integer> changes = new LinkedHashMap<>();
        if (start == 0) {
            return changes;
        }
        if (!hadStart) {
            add(changes, "TC", 1);
            add(changes, "CT/" + type, 1);
            if (campaign != null) {
                add(changes, "CMPID/" + campaign, 1);
            }
            if (did != null) {
                add(changes, "DID/" + did, 1);
            }
            inputs.values().forEach(counted -> add(changes, counted, 1));
        } else if (input != null) {
            add(changes, input, 1);
        }
        List<String> after = outcome();
        if (!after.equals(before)) {
            before.forEach(name -> add(changes, name, -1));
            after.forEach(name -> add(changes, name, 1));
        }
        return changes;
    }

    private static void add(Map<String, Integer> changes, String name, int change) {
        changes.merge(name, change, Integer::sum);
    }

    /** Add the event to the call. Returns the counter of a DTMF input that is new, otherwise null. */
    private String join(Event event) {
        switch (event.type) {
            case "call.started" -> {
                if (start == 0) {
                    start = event.ms();
                    type = event.callType;
                    campaign = event.campaignId == null || event.campaignId.equals("0") ? null : event.campaignId;
                    did = event.did;
                }
            }
            case "call.ended" -> {
                if (end == 0) {
                    end = event.ms();
                    status = Integer.parseInt(event.status);
                }
            }
            case "ivr.entered" -> ivr = true;
            case "dtmf.received" -> {
                int length = event.digits.length();
                String counted = "DTMF/" + (length <= DIGITS_MAX ? event.digits : length + " digits");
                return inputs.putIfAbsent(event.id, counted) == null ? counted : null;
            }
            default -> joinLeg(event);
        }
        return null;
    }

    private void joinLeg(Event event) {
        Leg leg = legs.computeIfAbsent(event.legId == null ? "1" : event.legId, id -> new Leg());
        switch (event.type) {
            case "leg.ringing" -> leg.rang = true;
            case "leg.answered" -> leg.answered = leg.answered == 0 ? event.ms() : leg.answered;
            default -> leg.elsewhere |= "elsewhere".equals(event.outcome);
        }
    }

    /** What a call that has started counts now, and may not count later. */
    private List<String> outcome() {
        if (start == 0) {
            return List.of();
        }
        boolean answered = false;
        boolean rang = false;
        for (Leg leg : legs.values()) {
            if (!leg.elsewhere) {
                rang |= leg.rang;
                answered |= leg.answered != 0 && (end == 0 || leg.answered <= end);
            }
        }
        if (end == 0) {
            return answered ? List.of("LCT/" + type, "CNC") : List.of("LCT/" + type);
        }
        return List.of("CST/" + status, answered ? "CNC" : ivr || rang ? "MC" : "GHC");
    }
}
