"""Everything that talks to Kafka. Only ``internals`` touches private members of aiokafka and Faust."""
