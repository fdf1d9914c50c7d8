"""Small tools that are not about call events: time slices, tasks, times, text, terminals and addresses."""
