"""`ecounters run`: the whole of it on one machine, with the embedded broker and store."""
