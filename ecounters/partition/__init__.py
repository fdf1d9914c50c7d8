"""One partition's state: records and time go in; uncounted records, counts and changelog entries come out."""
