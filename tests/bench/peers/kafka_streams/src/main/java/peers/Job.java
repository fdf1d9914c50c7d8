package peers;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.core.JsonProcessingException;

/** The work of this engine, as tests/bench/peers/job.py describes it. */
@JsonIgnoreProperties(ignoreUnknown = true)
record Job(String broker, String topic, String group, int partitions, int warm_up, String folder, int port, String guarantee) {

    /** The job in the environment variable PEER_JOB. */
    static Job given() throws JsonProcessingException {
        return Json.MAPPER.readValue(System.getenv("PEER_JOB"), Job.class);
    }
}
