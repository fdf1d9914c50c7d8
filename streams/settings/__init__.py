"""The settings: ``table`` lists them, ``load`` reads them, ``narrow`` gives each part of a worker what it needs."""
