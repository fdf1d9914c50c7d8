"""Everything that talks to Kafka, and the one home of what is private of aiokafka and Faust."""
