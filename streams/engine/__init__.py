"""The engine: the partitions that a worker owns, from their restore to their last flush, and Faust around them."""
