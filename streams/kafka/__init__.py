"""Reading from and writing to Kafka. Only ``internals`` touches private members of aiokafka and Faust."""
