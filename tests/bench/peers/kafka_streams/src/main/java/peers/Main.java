package peers;

import com.fasterxml.jackson.databind.ObjectReader;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams as its developer guide teaches: a processor with two key-value stores, one of calls and one of counters
 * ("user|window|counter"), and interactive queries over HTTP. Stores are in memory, cached, with changelogs.
 */
public final class Main {
    private static final String CALLS = "calls";
    private static final String COUNTERS = "counters";
    private static final long WINDOW_MS = 900_000;
    private static final int SESSION_MS = 6_000;

    private final Job job;
    private final Marks marks;
    private final KafkaStreams streams;

    private Main(Job job) {
        this.job = job;
        marks = new Marks(job);
        streams = new KafkaStreams(topology(), settings());
    }

    public static void main(String[] args) throws IOException {
        Main main = new Main(Job.given());
        main.serve();
        main.streams.start();
    }

    private Properties settings() {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, job.group());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, job.broker());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, job.folder() + "/state");
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                job.guarantee().equals("exactly_once") ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), SESSION_MS);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), SESSION_MS / 3);
        return settings;
    }

    private Topology topology() {
        return new Topology()
                .addSource("events", Serdes.String().deserializer(), Serdes.ByteArray().deserializer(), job.topic())
                .addProcessor("count", Counting::new, "events")
                .addStateStore(Stores.keyValueStoreBuilder(
                        Stores.inMemoryKeyValueStore(CALLS), Serdes.String(), Json.serde(Call.class))
                        .withCachingEnabled(), "count")
                .addStateStore(Stores.keyValueStoreBuilder(
                        Stores.inMemoryKeyValueStore(COUNTERS), Serdes.String(), Serdes.Long())
                        .withCachingEnabled(), "count");
    }

    /** Counts the events of a partition. */
    private final class Counting implements Processor<String, byte[], Void, Void> {
        private final ObjectReader reader = Json.MAPPER.readerFor(Event.class);
        private KeyValueStore<String, Call> calls;
        private KeyValueStore<String, Long> counters;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            calls = context.getStateStore(CALLS);
            counters = context.getStateStore(COUNTERS);
        }

        @Override
        public void process(Record<String, byte[]> message) {
            marks.see();
            Event event = Json.read(reader, message.value());
            if (Event.READ.contains(event.type)) {
                count(event);
            } else if (marks.isEnd(event)) {
                new Thread(Main.this::writeResults).start();
            }
        }

        private void count(Event event) {
            String key = event.userId + "|" + event.callId;
            Call saved = calls.get(key);
            Call call = saved == null ? new Call() : saved;
            call.apply(event).forEach((name, change) -> {
                if (change != 0) {
                    String counter = event.userId + "|" + call.window() + "|" + name;
                    Long old = counters.get(counter);
                    counters.put(counter, (old == null ? 0 : old) + change);
                }
            });
            calls.put(key, call);
        }
    }

    // -------------------------------------------------------------------------------------------- queries

    private ReadOnlyKeyValueStore<String, Long> counters() {
        return streams.store(
                StoreQueryParameters.fromNameAndType(COUNTERS, QueryableStoreTypes.<String, Long>keyValueStore()));
    }

    private void writeResults() {
        Map<String, Map<String, Long>> cells = new HashMap<>();
        try (KeyValueIterator<String, Long> entries = counters().all()) {
            while (entries.hasNext()) {
                KeyValue<String, Long> entry = entries.next();
                int end = entry.key.indexOf('|', entry.key.indexOf('|') + 1);
                cells.computeIfAbsent(entry.key.substring(0, end), cell -> new HashMap<>())
                        .put(entry.key.substring(end + 1), entry.value);
            }
        }
        marks.write("results.json", Json.MAPPER.valueToTree(cells).toString());
    }

    private void serve() throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", job.port()), 0);
        server.createContext("/calls/", this::respond);
        server.start();
    }

    /** GET /calls/?user=USER: the calls of a user in the present windows. */
    private void respond(HttpExchange exchange) throws IOException {
        String user = exchange.getRequestURI().getQuery().substring("user=".length());
        long window = System.currentTimeMillis() / WINDOW_MS * WINDOW_MS;
        long calls = 0;
        for (long at : new long[] {window - WINDOW_MS, window}) {
            Long n = counters().get(user + "|" + at + "|TC");
            calls += n == null ? 0 : n;
        }
        byte[] body = ("{\"TC\":" + calls + "}").getBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
