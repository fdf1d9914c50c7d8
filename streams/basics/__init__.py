"""Small tools of the shell without a subject of their own: time slices, tasks, times, text and terminals."""
