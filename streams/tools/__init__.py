"""What the commands do, without click: so tests and other programs can call it too."""
