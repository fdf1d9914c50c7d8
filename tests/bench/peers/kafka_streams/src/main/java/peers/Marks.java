package peers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;

/** Tells the bench when counting began and ended, by files: see tests/bench/peers/job.py. */
final class Marks {
    private final Path folder;
    private final int partitions;
    private final Set<String> seen = new HashSet<>();
    private int warmUp;

    Marks(Job job) {
        folder = Path.of(job.folder());
        partitions = job.partitions();
        warmUp = job.warm_up();
    }

    /** Note that an event has arrived, and say so if it is the first one after the warm-up. */
    synchronized void see() {
        if (warmUp >= 0 && --warmUp < 0) {
            write("began", now());
        }
    }

    /** Note the event, which may be an end mark. Returns whether it is the last one that was missing, and says so. */
    synchronized boolean isEnd(Event event) {
        if (!event.id.equals("end") || !seen.add(event.userId) || seen.size() < partitions) {
            return false;
        }
        write("ended", now());
        return true;
    }

    /** Write a file that appears as a whole. */
    void write(String name, String text) {
        try {
            Path partial = Files.writeString(folder.resolve(name + ".partial"), text);
            Files.move(partial, folder.resolve(name));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static String now() {
        return String.valueOf(System.currentTimeMillis() / 1000.0);
    }
}
