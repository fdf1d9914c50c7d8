"""Time and counts: windows and days (``calendar``), steps of a range (``steps``), cells of counts (``spans``)."""
